#!/usr/bin/env perl
# Plays a guest's sshd behind the forwarded port: greets, then sends back in capitals what it is sent.
use strict;
use warnings;
use Socket;

my ($port) = @ARGV;
$0 = "qemu-system-x86_64 @ARGV";
socket(my $server, AF_INET, SOCK_STREAM, 0) or die "socket: $!";
setsockopt($server, SOL_SOCKET, SO_REUSEADDR, 1);
bind($server, sockaddr_in($port, INADDR_LOOPBACK)) or die "bind $port: $!";
listen($server, 8) or die "listen: $!";
$SIG{ALRM} = sub { exit 0 };
alarm 600;
while (accept(my $client, $server)) {
    syswrite($client, "hello from the guest\n");
    while (sysread($client, my $text, 4096)) { syswrite($client, uc $text); }
    close($client);
}
