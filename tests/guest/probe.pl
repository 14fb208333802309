# probe.pl PROTOCOL ADDRESS PORT: prints `open` when a listener.py answers there, else what came instead. A guest always
# has perl. Whatever a resolver takes for an address is one.
use strict;
use warnings;
use Socket qw(:all);
use Errno qw(ETIMEDOUT);

my ($protocol, $address, $port) = @ARGV;
my $type = $protocol eq 'udp' ? SOCK_DGRAM : SOCK_STREAM;
my ($error, $found) = getaddrinfo($address, $port, { socktype => $type });
die "$error\n" if $error;
socket(my $socket, $found->{family}, $type, 0) or die "socket: $!\n";
setsockopt($socket, SOL_SOCKET, $_, pack('l!l!', 3, 0)) for SO_RCVTIMEO, SO_SNDTIMEO;
if (connect($socket, $found->{addr}) and ($type == SOCK_STREAM or send($socket, 'x', 0))) {
    my $answer = '';
    if (defined recv($socket, $answer, 16, 0) and $answer eq 'here') {
        print "open\n";
        exit;
    }
}
print "closed: $!\n";
