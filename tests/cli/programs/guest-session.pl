#!/usr/bin/env perl
# Plays the guest's session helper: mode, folder, command; a dot before each word, `_` and two digits for most bytes.
use strict;
use warnings;

my ($mode, $folder, @command) = map { s/^\.// or die "no dot: $_"; s/_([0-9a-f]{2})/chr hex $1/ger } @ARGV;
chdir "$ENV{HOME}/$folder" or chdir $ENV{HOME};
@command = ('bash', '-l') if $mode eq 'login';
no warnings 'exec';
exec { $command[0] } @command
    or print STDERR "machine: $command[0]: command not found in the guest\n";
exit 127;
