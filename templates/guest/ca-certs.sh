# shellcheck shell=bash
# Certificate authorities of the host's network, trusted by all that read the system's store. `update-ca-certificates`
# would hash some hundred and fifty files for it, a minute under emulation; it comes to the same when it runs some day.
sources=/usr/local/share/ca-certificates/machine
store=/etc/ssl/certs
rm -rf "$sources"
install -D -m 0644 -t "$sources" ./*.crt
find "$store" -lname "$sources/*" -delete
for file in "$sources"/*.crt; do
  name=${file##*/}
  ln -sfn "$file" "$store/${name%.crt}.pem"
  # A file may hold several; each has a name by its hash, where OpenSSL looks, and stands in the bundle once.
  rm -f part-*
  csplit -s -z -f part- "$file" '/BEGIN CERTIFICATE/' '{*}'
  for part in part-*; do
    grep -q 'BEGIN CERTIFICATE' "$part" || continue
    hash=$(openssl x509 -noout -hash -in "$part")
    [ -e "$store/$hash.0" ] || install -m 0644 "$part" "$store/$hash.0"
    body=$(sed -n '/BEGIN CERTIFICATE/,/END CERTIFICATE/p' "$part")
    [[ "$(<"$store/ca-certificates.crt")" == *"$body"* ]] || printf '%s\n' "$body" >>"$store/ca-certificates.crt"
  done
done
