#!/bin/sh
# The private certificates of PostgreSQL and Redis, so that production's rule (nothing in the clear, nothing
# unverified) also holds inside one machine. Made once, into the folder given first, for the hosts given after it;
# the authority's key is thrown away at once, so that nobody can sign another. To renew: empty the folder, run again.
set -eu
umask 077
folder=$1
shift

if [ -s "$folder/ca.crt" ] && openssl x509 -in "$folder/ca.crt" -noout -checkend 2592000 >/dev/null; then
    echo "certificates: those in $folder are good for 30 days and more"
    exit 0
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
days=3650
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days $days -subj "/CN=Clofy Cloud, this machine" \
    -addext "basicConstraints=critical,CA:TRUE,pathlen:0" -addext "keyUsage=critical,keyCertSign,cRLSign" \
    -keyout "$work/ca.key" -out "$work/ca.crt" 2>/dev/null

for host in "$@"; do
    cat >"$work/$host.ext" <<END
basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=serverAuth
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid
subjectAltName=DNS:$host,DNS:localhost
END
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$host" \
        -keyout "$work/$host.key" -out "$work/$host.csr" 2>/dev/null
    openssl x509 -req -in "$work/$host.csr" -CA "$work/ca.crt" -CAkey "$work/ca.key" -CAcreateserial -days $days \
        -extfile "$work/$host.ext" -out "$work/$host.crt" 2>/dev/null
    chmod 0644 "$work/$host.crt"
    mv "$work/$host.key" "$work/$host.crt" "$folder/"
    # PostgreSQL and Valkey run as 999 in their images; the key is for that user alone.
    [ "$(id -u)" -ne 0 ] || chown 999:999 "$folder/$host.key"
done

# The authority comes last: what is half made is made anew.
chmod 0644 "$work/ca.crt"
mv "$work/ca.crt" "$folder/"
echo "certificates: made in $folder for $*"
