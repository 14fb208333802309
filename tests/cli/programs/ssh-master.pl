#!/usr/bin/env perl
# Plays the master of an ssh connection: a socket that accepts, for as long as the guest's QEMU lives.
# Comes back when the socket is there; leaves its pid beside the socket.
use strict;
use warnings;
use POSIX ();
use Socket;

my ($path, $pid_of_guest) = @ARGV;
socket(my $server, AF_UNIX, SOCK_STREAM, 0) or die "socket: $!";
# As ssh makes it: nobody else may use it.
umask 077;
bind($server, sockaddr_un($path)) or die "bind $path: $!";
listen($server, 8) or die "listen: $!";

my $pid = fork() // die "fork: $!";
if ($pid) {
    open(my $file, '>', "$path.pid") or die "$path.pid: $!";
    print $file $pid;
    exit 0;
}
POSIX::setsid();
open(STDIN, '<', '/dev/null');
open(STDOUT, '>', '/dev/null');
open(STDERR, '>', '/dev/null');
local $SIG{TERM} = sub { unlink $path, "$path.pid"; POSIX::_exit(0); };
# A process that has ended but that nobody has fetched yet is none.
sub runs {
    my ($pid) = @_;
    return 0 unless kill(0, $pid);
    open(my $stat, '<', "/proc/$pid/stat") or return 1;
    return <$stat> !~ /\) Z /;
}

my $deadline = time + 600;
while (time < $deadline && runs($pid_of_guest)) {
    my $wanted = '';
    vec($wanted, fileno($server), 1) = 1;
    next unless select($wanted, undef, undef, 0.1) > 0;
    accept(my $client, $server) or next;
    close($client);
}
unlink $path, "$path.pid";
