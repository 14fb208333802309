# Runs `install` and `test` of Formula/machine.rb without Homebrew, by a stand-in for the part of its language in use.
#
#   ruby tests/formula_test.rb PATH/TO/machine
#
# The program is not built but taken from the path given. Needs limactl on PATH, and a user who is not root.
require "fileutils"
require "open3"
require "pathname"
require "tmpdir"

class Pathname
  def write(text) = dirname.mkpath.then { File.write(self, text) }
end

module OS
  def self.mac? = true
end

HOMEBREW_PREFIX = "/opt/homebrew".freeze
BUILT = Pathname(ARGV.fetch(0)).realpath
STAGE = Pathname(Dir.mktmpdir)
at_exit { FileUtils.rm_rf STAGE }

class Formula
  class << self
    attr_reader :said, :test_block

    def note(word, *arguments) = (@said ||= []) << [word, *arguments]
    def desc(text) = note(:desc, text)
    def license(name) = note(:license, name)
    def head(url, **options) = note(:head, url, options)
    def depends_on(what) = note(:depends_on, what)
    def on_linux = yield
    def test(&block) = @test_block = block
  end

  def prefix = STAGE/"prefix"
  def bin = prefix/"bin"
  def man1 = prefix/"share/man/man1"
  def testpath = STAGE/"home"
  def std_cargo_args = ["--locked", "--root=#{prefix}", "--path=."]

  def system(program, *arguments)
    return FileUtils.install(BUILT, bin.tap(&:mkpath)/"machine", mode: 0o755) if program == "cargo"

    Kernel.system(program.to_s, *arguments.map(&:to_s)) || raise("failed: #{program} #{arguments.join(" ")}")
  end

  def generate_completions_from_executable(*command, shells:)
    shells.each { |shell| assert_match "machine", shell_output([*command, shell].join(" ")) }
  end

  def shell_output(line, expected = 0)
    output, status = Open3.capture2("/bin/sh", "-c", line)
    raise "`#{line}` ended with #{status.exitstatus}, not #{expected}:\n#{output}" if status.exitstatus != expected

    output
  end

  def with_env(variables)
    before = ENV.to_h
    ENV.update(variables.transform_keys(&:to_s))
    yield
  ensure
    ENV.replace(before)
  end

  def assert_match(what, text) = text[what] || raise("no #{what} in:\n#{text}")
  def assert_equal(expected, found) = expected == found || raise("#{found.inspect} is not #{expected.inspect}")
  def assert_path_exists(path) = path.exist? || raise("#{path} is missing")
end

file = Pathname(__dir__).parent.realpath/"Formula/machine.rb"
Object.class_eval(file.read, file.to_s)
formula = Machine.new
url = Machine.said.assoc(:head)[1]
raise "#{url} is not this checkout" unless url == "file://#{file.dirname.parent}"

formula.testpath.mkpath
ENV["HOME"] = formula.testpath.to_s
%w[MACHINE_CONFIG_DIR XDG_CONFIG_HOME XDG_DATA_HOME XDG_STATE_HOME XDG_CACHE_HOME].each { |name| ENV.delete(name) }
Dir.chdir(formula.testpath)
formula.install
formula.assert_match "/usr/bin/machine", formula.caveats
formula.instance_eval(&Machine.test_block)
puts "1 passed, 0 failed"
