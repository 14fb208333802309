# Tries to reach addresses, all at once, and says what came of each.
# Arguments: a word to say where somebody answers; then NAME,ADDRESS,TCP,UDP for each, with 0 for a port not to be tried;
# DNS,ADDRESS asks a resolver. An answer is `tried NAME open`, `closed` (refused, or no route) or `silent`.
use strict;
use warnings;
use Errno qw(EINPROGRESS);
use Fcntl;
use Socket qw(:DEFAULT inet_pton pack_sockaddr_in6 IPPROTO_TCP);

my ($word, @targets) = @ARGV;
my (%waiting, %said);

sub place {
    my ($address, $port) = @_;
    my $six = $address =~ /:/;
    my $bytes = inet_pton($six ? AF_INET6 : AF_INET, $address) or return;
    return ($six ? AF_INET6 : AF_INET, $six ? pack_sockaddr_in6($port, $bytes) : pack_sockaddr_in($port, $bytes));
}

sub said { my ($name, $what) = @_; $said{$name} //= $what; }

for my $target (@targets) {
    my ($name, $address, $tcp, $udp) = split /,/, $target;
    my ($family, $to);
    if ($name eq 'DNS') {
        # The name servers of the root, which every resolver knows.
        ($family, $to) = place($address, 53) or next;
        socket(my $socket, $family, SOCK_DGRAM, 0) or next;
        connect($socket, $to) && send($socket, "Mk\1\0\0\1\0\0\0\0\0\0\0\0\2\0\1", 0);
        $waiting{fileno $socket} = [$socket, $name];
        next;
    }
    if ($udp && (($family, $to) = place($address, $udp)) && socket(my $socket, $family, SOCK_DGRAM, 0)) {
        send($socket, "$word\n", 0, $to);
    }
    next unless $tcp && (($family, $to) = place($address, $tcp)) && socket(my $socket, $family, SOCK_STREAM, IPPROTO_TCP);
    fcntl($socket, F_SETFL, O_NONBLOCK);
    if (connect($socket, $to) || $! == EINPROGRESS) { $waiting{fileno $socket} = [$socket, $name]; next; }
    said($name, 'closed');
}

my $end = time + 4;
while (%waiting && time < $end) {
    my ($read, $write) = ('', '');
    vec($_->[1] eq 'DNS' ? $read : $write, fileno $_->[0], 1) = 1 for values %waiting;
    next unless select($read, $write, undef, 0.5) > 0;
    for my $number (keys %waiting) {
        my ($socket, $name) = @{ $waiting{$number} };
        next unless vec($read, $number, 1) || vec($write, $number, 1);
        delete $waiting{$number};
        if ($name eq 'DNS') {
            my $got = recv($socket, my $answer, 512, 0);
            said($name, defined $got && $answer =~ /^Mk/ ? 'open' : 'closed');
            next;
        }
        my $error = unpack 'i', getsockopt($socket, SOL_SOCKET, SO_ERROR);
        said($name, $error ? 'closed' : 'open');
        syswrite $socket, "$word\n" unless $error;
    }
}
said($_->[1], 'silent') for values %waiting;
print "tried $_ $said{$_}\n" for sort keys %said;
# What was sent is to arrive before the sockets close.
select undef, undef, undef, 0.3;
