#!/usr/bin/env bash
# Makes this host an external container instance of Amazon ECS (ECS Anywhere): installs and
# registers the SSM agent, which gives the host its credentials, installs Docker if it is not
# there, and the ECS agent's package, whose signature it checks. It may be run again.
#
#   ecs-anywhere-install.sh --region REGION --activation-id ID --activation-code CODE
#                           --package FILE|URL --key FILE [OPTION...]
#
#   --region REGION             AWS region
#   --activation-id ID          of an SSM activation
#   --activation-code CODE      of the same; ECS_ACTIVATION_CODE in the environment does as well,
#                               and is not seen by other users
#   --package FILE|URL          the ECS agent's package, deb or rpm; its signature has the same
#                               name with .asc behind
#   --key FILE                  public key by which the package is signed
#   --ssm-key FILE              public key by which the SSM agent is signed
#   --skip-gpg-check            install what is not signed
#   --cluster NAME              cluster (default: default)
#   --ecs-endpoint URL          ECS API, if it is not that of the region
#   --docker-install-source S   distro (default): from the distribution, if there is none; none
#   --certs-file FILE           CA certificates for ECS Exec
#   --enable-gpu                offer the host's GPUs
#   --skip-registration         the SSM agent is there and registered
#   --no-start                  enable the service, and do not start it
#   --help                      print this
set -euo pipefail

region='' id='' code=${ECS_ACTIVATION_CODE:-} package='' key='' ssm_key='' cluster=default endpoint='' docker=distro certs=''
gpu=false register=true start=true signed=true

say() { printf 'ecs-anywhere-install: %s\n' "$*"; }
fail() {
	printf 'ecs-anywhere-install: %s\n' "$*" >&2
	exit 1
}

while [ $# -gt 0 ]; do
	case $1 in
	--region | --activation-id | --activation-code | --package | --deb-url | --rpm-url | --key | --ssm-key | --cluster | --ecs-endpoint | --docker-install-source | --certs-file)
		[ $# -ge 2 ] || fail "$1 wants a value"
		;;
	esac
	case $1 in
	--region) region=$2 ;;
	--activation-id) id=$2 ;;
	--activation-code) code=$2 ;;
	--package | --deb-url | --rpm-url) package=$2 ;;
	--key) key=$2 ;;
	--ssm-key) ssm_key=$2 ;;
	--cluster) cluster=$2 ;;
	--ecs-endpoint) endpoint=$2 ;;
	--docker-install-source) docker=$2 ;;
	--certs-file) certs=$2 ;;
	--enable-gpu) gpu=true ;;
	--skip-registration) register=false ;;
	--skip-gpg-check) signed=false ;;
	--no-start) start=false ;;
	--help)
		sed -n '2,/^set -/{/^#/s/^# \{0,1\}//p}' "$0"
		exit 0
		;;
	*) fail "$1 is no option: --help lists them" ;;
	esac
	case $1 in
	--enable-gpu | --skip-registration | --skip-gpg-check | --no-start) shift ;;
	*) shift 2 ;;
	esac
done

case $region in
*[!a-z0-9-]* | -* | '') fail "--region \"$region\": want a region such as eu-west-1" ;;
esac
case $cluster in
*[!A-Za-z0-9_:/-]* | '') fail "--cluster \"$cluster\": want letters, digits, hyphens and underscores" ;;
esac
case $endpoint in
'' | http://?* | https://?*) ;;
*) fail "--ecs-endpoint \"$endpoint\": want http:// or https://" ;;
esac
case $docker in
all | distro) docker=distro ;;
none) ;;
*) fail "--docker-install-source \"$docker\": want distro or none" ;;
esac
if $register && { [ -z "$id" ] || [ -z "$code" ]; }; then
	fail "--activation-id and --activation-code are missing: both come with an SSM activation, or --skip-registration"
fi
[ "$(id -u)" = 0 ] || fail "needs root"
[ -d /run/systemd/system ] || fail "needs systemd"
case $(uname -m) in
x86_64) ssm_deb=debian_amd64 ssm_rpm=linux_amd64 ;;
aarch64) ssm_deb=debian_arm64 ssm_rpm=linux_arm64 ;;
*) fail "this is a $(uname -m): want x86_64 or aarch64" ;;
esac
for manager in apt-get dnf yum zypper none; do
	command -v "$manager" >/dev/null && break
done
case $manager in
apt-get) kind=deb ssm=$ssm_deb ;;
none) fail "none of apt-get, dnf, yum and zypper is there" ;;
*) kind=rpm ssm=$ssm_rpm ;;
esac
agent=/usr/libexec/amazon-ecs-init
if [ ! -x "$agent" ]; then
	case $package in
	*."$kind") ;;
	'') fail "--package is missing: where is the ECS agent's $kind?" ;;
	*) fail "--package \"$package\": want a $kind, this host has $manager" ;;
	esac
	if $signed && [ ! -r "$key" ]; then
		fail "--key \"$key\": want the file of the public key by which the package is signed, or --skip-gpg-check"
	fi
fi
[ -z "$certs" ] || [ -r "$certs" ] || fail "--certs-file \"$certs\" cannot be read"
if $gpu; then
	nvidia-smi >/dev/null 2>&1 || fail "--enable-gpu: nvidia-smi does not work: install the GPU's driver first"
fi

# What takes one package by name, or file.
packages() {
	case $manager in
	apt-get) DEBIAN_FRONTEND=noninteractive apt-get install -y "$@" ;;
	zypper) zypper --non-interactive install --allow-unsigned-rpm "$@" ;;
	*) "$manager" install -y "$@" ;;
	esac
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# fetch SOURCE TO: a file of this host, or of elsewhere.
fetch() {
	case $1 in
	http://* | https://*) curl --fail --silent --show-error --location --retry 3 --connect-timeout 20 --output "$2" "$1" || fail "download $1: see above" ;;
	*) cp -- "$1" "$2" || fail "read $1: see above" ;;
	esac
}

# verify FILE SIGNATURE KEY: whether the key's owner signed the file.
verify() {
	command -v gpg >/dev/null || packages gnupg >/dev/null || packages gnupg2 >/dev/null || fail "gpg cannot be installed: it checks signatures"
	gpg --batch --quiet --homedir "$work" --no-default-keyring --keyring "$work/keys.gpg" --import "$3" 2>"$work/told" || { cat "$work/told" >&2; fail "read the key $3: see above"; }
	gpg --batch --quiet --homedir "$work" --no-default-keyring --keyring "$work/keys.gpg" --trust-model always --verify "$2" "$1" 2>"$work/told" || {
		cat "$work/told" >&2
		fail "$(basename "$1"): the signature is not of the key $3; nothing was installed of it"
	}
	rm -f "$work/keys.gpg"
}

suffix=amazonaws.com
case $region in
cn-*) suffix=amazonaws.com.cn ;;
eusc-*) suffix=amazonaws.eu ;;
esac

# The SSM agent first: without credentials the ECS agent has nothing to say.
registration=/var/lib/amazon/ssm/Vault/Store/RegistrationKey
if $register; then
	if ! command -v amazon-ssm-agent >/dev/null && ! snap list amazon-ssm-agent >/dev/null 2>&1; then
		say "installing the SSM agent"
		source=https://amazon-ssm-$region.s3.$region.$suffix/latest/$ssm/amazon-ssm-agent.$kind
		fetch "$source" "$work/amazon-ssm-agent.$kind"
		if $signed; then
			[ -r "$ssm_key" ] || fail "--ssm-key \"$ssm_key\": want the file of the public key by which the SSM agent is signed, or --skip-gpg-check"
			fetch "$source.sig" "$work/amazon-ssm-agent.sig"
			verify "$work/amazon-ssm-agent.$kind" "$work/amazon-ssm-agent.sig" "$ssm_key"
		fi
		packages "$work/amazon-ssm-agent.$kind"
	fi
	unit=amazon-ssm-agent ssm_agent=amazon-ssm-agent
	if snap list amazon-ssm-agent >/dev/null 2>&1; then
		unit=snap.amazon-ssm-agent.amazon-ssm-agent ssm_agent=/snap/amazon-ssm-agent/current/amazon-ssm-agent
	fi
	if grep -q '"instanceID" *: *"mi-' "$registration" 2>/dev/null; then
		say "the SSM agent is registered already"
	else
		systemctl stop "$unit" || true # it may not run
		"$ssm_agent" -register -code "$code" -id "$id" -region "$region" -y || fail "the SSM agent could not be registered: is the activation of region $region, not expired, and not used up?"
	fi
	systemctl enable "$unit"
	systemctl restart "$unit"
fi

if ! command -v docker >/dev/null; then
	[ "$docker" != none ] || fail "Docker is not there, and --docker-install-source none says not to install it"
	say "installing Docker"
	case $manager in
	apt-get) packages docker.io ;;
	*) packages docker ;;
	esac
	systemctl enable --now docker
fi

if [ -x "$agent" ]; then
	say "the ECS agent is installed already"
else
	say "installing the ECS agent"
	fetch "$package" "$work/ecs-agent.$kind"
	if $signed; then
		fetch "$package.asc" "$work/ecs-agent.asc"
		verify "$work/ecs-agent.$kind" "$work/ecs-agent.asc" "$key"
	fi
	packages "$work/ecs-agent.$kind"
fi

if [ -n "$certs" ]; then
	install -D -m 0400 "$certs" /var/lib/ecs/deps/execute-command/certs/tls-ca-bundle.pem
fi

# set_in FILE NAME VALUE: the last of a name counts.
set_in() {
	mkdir -p "$(dirname "$1")"
	[ "$(sed -n "s/^$2=//p" "$1" 2>/dev/null | tail -n 1)" = "$3" ] || printf '%s=%s\n' "$2" "$3" >>"$1"
}
set_in /etc/ecs/ecs.config ECS_CLUSTER "$cluster"
set_in /var/lib/ecs/ecs.config AWS_DEFAULT_REGION "$region"
set_in /var/lib/ecs/ecs.config ECS_EXTERNAL true
[ -z "$endpoint" ] || set_in /var/lib/ecs/ecs.config ECS_BACKEND_HOST "$endpoint"
if $gpu; then
	set_in /var/lib/ecs/ecs.config ECS_ENABLE_GPU_SUPPORT true
fi

systemctl enable ecs
if ! $start; then
	say "installed; \"systemctl start ecs\" starts it"
	exit 0
fi
systemctl --no-block restart ecs
for try in 1 2 3 4 5 6 7 8 9 10; do
	arn=$(curl --silent --max-time 10 http://localhost:51678/v1/metadata 2>/dev/null | grep -o '"ContainerInstanceArn":"[^"]*"' | cut -d'"' -f4) || true
	if [ -n "$arn" ]; then
		say "registered as $arn"
		exit 0
	fi
	[ "$try" = 10 ] || sleep "${ECS_ANYWHERE_PAUSE:-10}"
done
fail "the agent is not registered after ten tries: systemctl status ecs says why"
