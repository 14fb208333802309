#!/usr/bin/env perl
# Plays a forward that an ssh master holds: listens, under the title that ssh gives its master, for as long as the
# master's socket and the guest's QEMU are there. Comes back when it listens; leaves its pid beside the socket.
use strict;
use warnings;
use POSIX ();
use Socket;

my ($master, $port, $pid_of_guest) = @ARGV;
socket(my $server, AF_INET, SOCK_STREAM, 0) or die "socket: $!";
setsockopt($server, SOL_SOCKET, SO_REUSEADDR, 1);
bind($server, sockaddr_in($port, INADDR_LOOPBACK)) or exit 255;
listen($server, 8) or die "listen: $!";

my $pid = fork() // die "fork: $!";
if ($pid) {
    open(my $file, '>', "$master.$port.pid") or die "$master.$port.pid: $!";
    print $file $pid;
    exit 0;
}
POSIX::setsid();
$0 = "ssh: $master [mux]";
open(STDIN, '<', '/dev/null');
open(STDOUT, '>', '/dev/null');
open(STDERR, '>', '/dev/null');
# A process that has ended but that nobody has fetched yet is none.
sub runs {
    my ($pid) = @_;
    return 0 unless kill(0, $pid);
    open(my $stat, '<', "/proc/$pid/stat") or return 1;
    return <$stat> !~ /\) Z /;
}

my ($deadline, $client) = (time + 600);
while (time < $deadline && -S $master && runs($pid_of_guest)) {
    my $wanted = '';
    vec($wanted, fileno($server), 1) = 1;
    next unless select($wanted, undef, undef, 0.1) > 0;
    # Kept until the next one comes, or the client ends it.
    accept($client, $server) or next;
}
unlink "$master.$port.pid";
