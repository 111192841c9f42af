#!/bin/sh
# Makes the secrets of compose.yaml that are not there yet, at random. The folder is the owner's alone; the files can be
# read by the services, whose user numbers differ.
set -eu
cd "$(dirname "$0")"
umask 077
mkdir -p secrets
for name in mqtt-agent influx-admin-password influx-admin-token grafana-admin; do
    [ -s "secrets/$name" ] || od -An -N24 -tx1 /dev/urandom | tr -d ' \n' > "secrets/$name"
done
# InfluxDB makes these two, and mosquitto_passwd the third; until then they let nobody in.
for name in influx-agent influx-grafana mosquitto-passwd; do
    [ -e "secrets/$name" ] || : > "secrets/$name"
done
chmod 0444 secrets/mqtt-agent secrets/influx-admin-password secrets/influx-admin-token secrets/grafana-admin
chmod 0644 secrets/influx-agent secrets/influx-grafana secrets/mosquitto-passwd
