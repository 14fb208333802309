#!/usr/bin/perl
# Keeps the secrets of a machine's project: a file each in a memory file system of their own, which only the login user
# can enter and which ends with the boot. `fill` is run by root and reads all of them from its input, framed by their
# lengths; `clear` and `status` are run by the login user. No value is ever printed, and none is an argument.
use strict;
use warnings;
use Fcntl qw(O_CREAT O_EXCL O_NOFOLLOW O_WRONLY);

my $folder = '/run/secrets';
my ($uid, $gid, $home) = (getpwnam 'dev')[2, 3, 7];
$ENV{PATH} = '/usr/sbin:/usr/bin:/sbin:/bin';

sub refuse {
    print STDERR "machine: $_[0]\n";
    exit 1;
}

# Everything is read before anything is touched: half a transfer changes nothing.
sub read_frames {
    binmode STDIN;
    my ($digest, $count) = (readline(STDIN) // '') =~ /^machine-secrets 1 ([0-9a-f]+) ([0-9]+)\n\z/
        or refuse 'what arrived are no secrets';
    my @frames;
    for (1 .. $count) {
        my ($name, $export, $length) = (readline(STDIN) // '') =~ /^([A-Za-z_][A-Za-z0-9_]*) ([01]) ([0-9]+)\n\z/
            or refuse 'the secrets arrived cut off';
        my $read = read STDIN, my $value, $length + 1;
        $read == $length + 1 && "\n" eq substr $value, -1, 1, '' or refuse 'the secrets arrived cut off';
        push @frames, { name => $name, export => $export, value => $value };
    }
    (readline(STDIN) // '') eq "end\n" or refuse 'the secrets arrived cut off';
    return $digest, @frames;
}

# The kind of file system that is mounted there last, which is the one that is seen.
sub mounted {
    open my $mounts, '<', '/proc/self/mountinfo' or refuse "mountinfo: $!";
    my $kind = '';
    while (my $line = <$mounts>) {
        $kind = $1 if (split / /, $line)[4] eq $folder && $line =~ / - (\S+) /;
    }
    return $kind;
}

sub is_ours {
    my ($mode, $owner) = (lstat $folder)[2, 4];
    return mounted() eq 'tmpfs' && -d _ && !-l _ && $owner == $uid && ($mode & 0777) == 0700;
}

sub ensure_mounted {
    refuse "$folder is a link" if -l $folder;
    mkdir $folder, 0700;
    if (!mounted()) {
        my $options = "size=4m,mode=0700,uid=$uid,gid=$gid,nosuid,nodev,noexec";
        # Linux before 6.3 does not know noswap; no image has swap of its own.
        system("mount -t tmpfs -o noswap,$options machine-secrets $folder 2>/dev/null") == 0
            or system("mount -t tmpfs -o $options machine-secrets $folder") == 0
            or refuse "$folder cannot be mounted";
    }
    is_ours() or refuse "$folder is not a memory file system of the login user's own";
}

# A program that crashes would leave what it read on the disk. Systemd sets these again at times, from files.
sub forbid_core_files {
    mkdir '/run/sysctl.d';
    write_system('/run/sysctl.d/99-machine-secrets.conf', "kernel.core_pattern = |/bin/false\nfs.suid_dumpable = 0\n");
    write_system('/proc/sys/kernel/core_pattern', '|/bin/false');
    write_system('/proc/sys/fs/suid_dumpable', '0');
}

sub write_system {
    my ($path, $text) = @_;
    open my $file, '>', $path or refuse "$path: $!";
    print {$file} $text;
    close $file or refuse "$path: $!";
}

# The folder is the login user's, so nothing in it is touched with root's rights.
sub become_user {
    ($(, $)) = ($gid, "$gid $gid");
    ($<, $>) = ($uid, $uid);
    $< == $uid && $> == $uid or refuse "cannot become the login user: $!";
}

sub put {
    my ($name, $text) = @_;
    unlink "$folder/.new";
    sysopen my $file, "$folder/.new", O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0400 or refuse "$folder: $!";
    binmode $file;
    print {$file} $text and close $file and rename "$folder/.new", "$folder/$name" or refuse "$folder/$name: $!";
}

sub names {
    opendir my $files, $folder or return;
    return grep { !/^\.\.?\z/ } readdir $files;
}

sub quoted { return "'" . $_[0] =~ s/'/'\\''/gr . "'" }

sub fill {
    my ($digest, @frames) = read_frames();
    umask 0077;
    ensure_mounted();
    forbid_core_files();
    become_user();
    my %new = ('.env' => '', '.export' => '', '.ssh-environment' => '', '.digest' => "$digest\n");
    for my $frame (@frames) {
        my ($name, $value) = @$frame{qw(name value)};
        put($name, $value);
        $new{$name} = undef;
        # No variable can hold a NUL.
        next if $value =~ /\0/;
        $new{'.env'} .= "$name=" . quoted($value) . "\n";
        next if !$frame->{export};
        $new{'.export'} .= "export $name=" . quoted($value) . "\n";
        # sshd reads whole lines and knows no quotes.
        $new{'.ssh-environment'} .= "$name=$value\n" if $value !~ /\n/;
    }
    put($_, $new{$_}) for grep { defined $new{$_} } sort keys %new;
    unlink map { "$folder/$_" } grep { !exists $new{$_} } names();
    unlink "/run/user/$uid/dev-secrets" if -l "/run/user/$uid/dev-secrets";
    symlink $folder, "/run/user/$uid/dev-secrets";
    # The link is on the disk, what it leads to is not. A file of the user's own stays.
    symlink "$folder/.ssh-environment", "$home/.ssh/environment" if !lstat "$home/.ssh/environment";
}

sub clear {
    unlink map { "$folder/$_" } names() if is_ours();
}

sub status {
    my ($mark) = @_;
    print "$mark\n";
    for my $name (is_ours() ? names() : ()) {
        if ($name eq '.digest' && open my $file, '<', "$folder/.digest") {
            print 'set ', readline $file;
        } elsif ($name =~ /^[A-Za-z_]/) {
            print "secret $name ", time - (stat "$folder/$name")[9], "\n";
        }
    }
    print "$mark\n";
}

my ($verb, @words) = @ARGV;
my %verbs = (fill => \&fill, clear => \&clear, status => \&status);
($verbs{ $verb // '' } or refuse 'fill, clear or status?')->(@words);
