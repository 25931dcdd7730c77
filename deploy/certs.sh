#!/bin/sh
# Certificates of a small installation: a CA, and one certificate for each name given.
#   deploy/certs.sh deploy/certs staking.example keys indexer lifecycle rewards gateway operator/alice
# Run it again with a name to renew that one; running services take new files without a restart. Keep ca.key offline.
set -eu
dir=$1 domain=$2; shift 2
mkdir -p "$dir"; cd "$dir"; umask 077
if [ ! -f ca.key ]; then
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 \
    -subj "/CN=sequencer control plane CA" -addext "basicConstraints=critical,CA:TRUE" \
    -addext "keyUsage=critical,keyCertSign,cRLSign" -keyout ca.key -out ca.pem
fi
for name in "$@"; do
  file=$(echo "$name" | tr / -)
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$file" -keyout "$file.key" -out "$file.csr"
  printf 'subjectAltName=URI:spiffe://%s/%s\nbasicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth,clientAuth\n' "$domain" "$name" > "$file.ext"
  openssl x509 -req -in "$file.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days 90 -extfile "$file.ext" -out "$file.pem"
  rm "$file.csr" "$file.ext"
done
