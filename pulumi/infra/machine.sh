#!/bin/bash
# Starts Neo4j on Container-Optimized OS; runs at every boot and may be repeated. Nothing in here is a secret: the password
# comes from Secret Manager each time, by the machine's own identity.
set -euo pipefail
META=http://metadata.google.internal/computeMetadata/v1
read_meta() { curl -sf -H 'Metadata-Flavor: Google' "$META/$1"; }
PROJECT="$(read_meta project/project-id)"
IMAGE="$(read_meta instance/attributes/neo4j-image)"
HEAP="$(read_meta instance/attributes/neo4j-heap)"
ADDRESS="$(read_meta instance/network-interfaces/0/ip)"
TOKEN="$(read_meta instance/service-accounts/default/token | sed -n 's/.*"access_token":"\([^"]*\)".*/\1/p')"

# The data disk: made a file system only when it has none, so that a snapshot comes back as it was.
DISK=/dev/disk/by-id/google-neo4j
DATA=/mnt/disks/neo4j
blkid "$DISK" > /dev/null || mkfs.ext4 -m 0 "$DISK"
mkdir -p "$DATA"
mountpoint -q "$DATA" || mount -o discard,defaults "$DISK" "$DATA"
mkdir -p "$DATA/data" "$DATA/certificates"

# A certificate of its own: whoever connects (bolt+ssc) is inside the network, and the way is encrypted.
if [ ! -f "$DATA/certificates/private.key" ]; then
  openssl req -x509 -newkey rsa:3072 -nodes -days 3650 -subj "/CN=$ADDRESS" -addext "subjectAltName=IP:$ADDRESS" \
    -keyout "$DATA/certificates/private.key" -out "$DATA/certificates/public.crt"
fi
chown -R 7474:7474 "$DATA/data" "$DATA/certificates"

SECRET="https://secretmanager.googleapis.com/v1/projects/$PROJECT/secrets/neo4j-password/versions/latest:access"
PASSWORD="$(curl -sf -H "Authorization: Bearer $TOKEN" "$SECRET" | sed -n 's/.*"data": "\([^"]*\)".*/\1/p' | base64 -d)"
export HOME=/home/neo4j-docker && mkdir -p "$HOME"
docker-credential-gcr configure-docker --registries="${IMAGE%%/*}"
docker rm -f neo4j 2> /dev/null || true
# By a file that only root may read, not by an argument that every process can.
umask 077
printf 'NEO4J_AUTH=neo4j/%s\n' "$PASSWORD" > /run/neo4j.env
docker run -d --name neo4j --restart always -p 7687:7687 --env-file /run/neo4j.env \
  -v "$DATA/data:/data" -v "$DATA/certificates:/certificates/bolt:ro" \
  -e NEO4J_server_http_enabled=false -e NEO4J_server_memory_heap_max__size="$HEAP" \
  -e NEO4J_server_bolt_tls__level=REQUIRED -e NEO4J_dbms_ssl_policy_bolt_enabled=true \
  -e NEO4J_dbms_ssl_policy_bolt_base__directory=/certificates/bolt \
  -e NEO4J_dbms_ssl_policy_bolt_client__auth=NONE "$IMAGE"
iptables -C INPUT -p tcp --dport 7687 -j ACCEPT 2> /dev/null || iptables -A INPUT -p tcp --dport 7687 -j ACCEPT
