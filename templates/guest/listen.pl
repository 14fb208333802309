# Listens on every address, on 127.0.0.1 alone and on IPv6, and answers each who comes with a word, for 45 seconds.
# Prints `listening` and the three ports. What it started ends by itself.
use strict;
use warnings;
use POSIX qw(setsid);
use Socket qw(:DEFAULT inet_pton pack_sockaddr_in6 unpack_sockaddr_in6 IPPROTO_IPV6 IPV6_V6ONLY);

my ($word) = @ARGV;
my (@listening, @ports);
for my $address ('0.0.0.0', '127.0.0.1', '::') {
    my $six = $address =~ /:/;
    socket(my $socket, $six ? AF_INET6 : AF_INET, SOCK_STREAM, 0) or next;
    setsockopt($socket, IPPROTO_IPV6, IPV6_V6ONLY, 1) if $six;
    my $bytes = inet_pton($six ? AF_INET6 : AF_INET, $address);
    bind($socket, $six ? pack_sockaddr_in6(0, $bytes) : pack_sockaddr_in(0, $bytes)) && listen($socket, 16) or next;
    my $name = getsockname $socket;
    push @ports, $six ? (unpack_sockaddr_in6 $name)[0] : (unpack_sockaddr_in $name)[0];
    push @listening, $socket;
}
socket(my $datagrams, AF_INET, SOCK_DGRAM, 0) or exit;
bind($datagrams, pack_sockaddr_in($ports[0], INADDR_ANY)) or exit;
print "listening @ports\n";
exit if fork;
setsid;
open STDIN, '<', '/dev/null';
open STDOUT, '>', '/dev/null';
open STDERR, '>', '/dev/null';
alarm 45;
while (1) {
    my $read = '';
    vec($read, fileno $_, 1) = 1 for @listening, $datagrams;
    next unless select($read, undef, undef, undef) > 0;
    for my $socket (@listening) {
        next unless vec($read, fileno $socket, 1) && accept(my $client, $socket);
        syswrite $client, "$word\n";
    }
    next unless vec($read, fileno $datagrams, 1);
    my $from = recv $datagrams, my $text, 64, 0;
    send $datagrams, "$word\n", 0, $from if $from;
}
