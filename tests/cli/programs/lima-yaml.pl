#!/usr/bin/env perl
# Prints a lima.yaml as JSON, with an override.yaml laid over it as Lima does: enough YAML for files that are written
# by programs. A scalar is kept as its JSON text.
use strict;
use warnings;

my (@lines, $at);

sub escape {
    my ($text) = @_;
    $text =~ s/(["\\])/\\$1/g;
    $text =~ s/([\x00-\x1f])/sprintf('\\u%04x', ord $1)/ge;
    return "\"$text\"";
}

sub scalar_of {
    my ($text) = @_;
    return $text if $text =~ /^(true|false|null|-?\d+)$/;
    return $text if $text =~ /^".*"$/;
    return [] if $text eq '[]';
    return {} if $text eq '{}';
    if ($text =~ /^'(.*)'$/) { (my $inner = $1) =~ s/''/'/g; return escape($inner); }
    return escape($text);
}

# Indentation of the next line that says something; -1 at the end.
sub next_indent {
    $at++ while $at < @lines && $lines[$at] =~ /^\s*(#.*)?$/;
    return -1 if $at >= @lines;
    return $lines[$at] =~ /^( *)/ ? length $1 : 0;
}

sub block_scalar {
    my ($parent, $keeps_newline) = @_;
    my @text;
    my $indent;
    while ($at < @lines) {
        my $line = $lines[$at];
        if ($line =~ /^( *)\S/) {
            last if length $1 <= $parent;
            $indent //= length $1;
        }
        push @text, length $line > ($indent // 0) ? substr($line, $indent // 0) : '';
        $at++;
    }
    pop @text while @text && $text[-1] eq '';
    return escape(join("\n", @text) . ($keeps_newline ? "\n" : ''));
}

sub value_of {
    my ($text, $indent) = @_;
    return block_scalar($indent, $1 eq '') if $text =~ /^\|(-?)$/;
    return scalar_of($text) if $text ne '';
    my $below = next_indent();
    return node($below) if $below > $indent || ($below == $indent && $lines[$at] =~ /^ *- /);
    return 'null';
}

sub node {
    my ($indent) = @_;
    return $lines[$at] =~ /^ *-( |$)/ ? sequence($indent) : mapping($indent);
}

sub sequence {
    my ($indent) = @_;
    my @items;
    while (next_indent() == $indent && $lines[$at] =~ s/^( *)-( |$)/$1 $2/) {
        my $inner = next_indent();
        if ($lines[$at] =~ /^ *("[^"]*"|[\w.-]+):( |$)/) { push @items, mapping($inner); next; }
        $lines[$at] =~ /^ *(.*)$/;
        my $text = $1;
        $at++;
        push @items, value_of($text, $indent);
    }
    return \@items;
}

sub mapping {
    my ($indent) = @_;
    my %fields;
    while (next_indent() == $indent && $lines[$at] =~ /^ *"?([^"\s:]+)"?:(?: +(.*))?$/) {
        my ($key, $text) = ($1, $2 // '');
        $at++;
        $fields{$key} = value_of($text, $indent);
    }
    return \%fields;
}

sub parse {
    my ($path) = @_;
    open(my $file, '<', $path) or return {};
    chomp(@lines = <$file>);
    $at = 0;
    return next_indent() < 0 ? {} : node(next_indent());
}

sub merge {
    my ($base, $over) = @_;
    return [@$over, @$base] if ref $base eq 'ARRAY' && ref $over eq 'ARRAY';
    return $over unless ref $base eq 'HASH' && ref $over eq 'HASH';
    my %merged = %$base;
    $merged{$_} = exists $base->{$_} ? merge($base->{$_}, $over->{$_}) : $over->{$_} for keys %$over;
    return \%merged;
}

sub json {
    my ($value) = @_;
    return '[' . join(',', map { json($_) } @$value) . ']' if ref $value eq 'ARRAY';
    return '{' . join(',', map { "\"$_\":" . json($value->{$_}) } sort keys %$value) . '}' if ref $value eq 'HASH';
    return $value;
}

my ($base, $over) = map { parse($_) } @ARGV;
print json(merge($base, $over)), "\n";
