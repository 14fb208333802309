# Builds the repository that this file lies in: there is no release yet, and so no address to fetch one from.
# Homebrew takes formulae from taps only, so the repository is tapped: see "Install" in README.md.
class Machine < Formula
  desc "Virtual machine of its own for every project, driven through Lima"
  license "MIT"
  head "file://#{File.dirname(__FILE__, 2)}", using: :git, branch: "main"

  depends_on "rust" => :build
  depends_on "lima"

  on_linux do
    depends_on "qemu"
  end

  def install
    system "cargo", "install", *std_cargo_args
    generate_completions_from_executable(bin/"machine", "completions", shells: [:bash, :zsh, :fish])
    man1.mkpath
    system bin/"machine", "man", "--dir", man1
  end

  def caveats
    return unless OS.mac?

    <<~EOS
      macOS has a program of the same name, /usr/bin/machine, which prints the processor's type.
      #{HOMEBREW_PREFIX}/bin must stand before /usr/bin in PATH; `machine doctor` says so where it does not.
    EOS
  end

  test do
    assert_match(/^machine \d+\.\d+\.\d+$/, shell_output("#{bin}/machine --version"))
    assert_path_exists man1/"machine-up.1"
    assert_match ".TH machine 1", shell_output("#{bin}/machine man")
    assert_match "COMPLETE=", shell_output("#{bin}/machine completions bash")

    # Completion knows the projects of the configuration.
    config = testpath/".config/machine/projects.toml"
    config.write "[blog]\nmemory = \"1GiB\"\n"
    with_env(COMPLETE: "bash", _CLAP_COMPLETE_INDEX: "2") do
      assert_equal "blog", shell_output("#{bin}/machine -- machine up b").strip
    end

    # The plan of a new machine: nothing is created, and Lima is found and new enough.
    assert_match(/limactl .* create --name blog /, shell_output("#{bin}/machine up blog --dry-run"))

    config.write "[blog]\ncpu = 1\n"
    assert_match "did you mean `cpus`?", shell_output("#{bin}/machine up blog --dry-run 2>&1", 2)
  end
end
