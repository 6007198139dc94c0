package anywhere

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The host of a script: nothing of the machine but its tools, with stand-ins for what would
// change it or leave it. Keys and signatures are real.
const prelude = `
for d in /etc /run /var/lib /usr/libexec; do mount -t tmpfs none $d; done
mkdir -p /run/systemd/system $DIR/bin $DIR/tools
for tool in bash sh id uname sed grep cut tail head cat cp rm mktemp mkdir dirname basename install gpg touch chmod sleep; do ln -s "$(command -v $tool)" $DIR/tools/$tool; done
PATH=$DIR/bin:$DIR/tools
stand_in() { { echo '#!/bin/bash'; echo "echo \"${1}: \$*\" >>$DIR/log"; cat; } >$DIR/bin/$1; chmod +x $DIR/bin/$1; }
stand_in systemctl <<<'[ "$*" != "--no-block restart ecs" ] || [ -e $DIR/broken ] || touch $DIR/up'
stand_in snap <<<'exit 1'
stand_in apt-get <<'END'
case $* in
*amazon-ssm-agent.deb) cp $DIR/ssm $DIR/bin/amazon-ssm-agent ;;
*ecs-agent.deb) echo '#!/bin/sh' >/usr/libexec/amazon-ecs-init; chmod +x /usr/libexec/amazon-ecs-init ;;
*docker.io) echo '#!/bin/sh' >$DIR/bin/docker; chmod +x $DIR/bin/docker ;;
esac
END
stand_in curl <<'END'
while [ $# -gt 1 ]; do [ "$1" = --output ] && to=$2; shift; done
case $1 in
*/v1/metadata) [ ! -e $DIR/up ] || echo '{"Cluster":"c","ContainerInstanceArn":"arn:aws:ecs:eu-west-1:1:container-instance/c/1"}' ;;
*) cp $DATA/$(basename $1) $to ;;
esac
END
cat >$DIR/ssm <<END
#!/bin/bash
echo "ssm: \$*" >>$DIR/log
[ ! -e $DIR/expired ] || exit 1
mkdir -p /var/lib/amazon/ssm/Vault/Store
echo '{"instanceID":"mi-1"}' >/var/lib/amazon/ssm/Vault/Store/RegistrationKey
END
chmod +x $DIR/ssm
export DIR DATA ECS_ANYWHERE_PAUSE=0
script() { bash $SCRIPT "$@" 2>&1; }
all() { script --region eu-west-1 --activation-id a1 --activation-code c1 --package https://example.com/ecs-agent.deb --key $DATA/signer.key --ssm-key $DATA/signer.key "$@"; }
did() { cat $DIR/log 2>/dev/null; }
is() { [ "$2" = "$3" ] || { echo "$1: have '$2', want '$3'"; exit 1; }; }
has() { case $2 in *"$3"*) ;; *) echo "$1: '$2' does not say '$3'"; exit 1;; esac; }
refuses() { # SAYS ARGUMENT...: nothing is done
	local says=$1 out; shift
	out=$("$@") && { echo "it accepts $*"; exit 1; }
	has "$*" "$out" "$says"
	! did | grep -E '^(apt-get: install .*/ecs-agent.deb|systemctl: --no-block restart ecs)$' || { echo "$*: that was done"; exit 1; }
}
`

func onHost(t *testing.T, script string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	for _, tool := range []string{"unshare", "gpg"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("needs ", tool)
		}
	}
	data, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	file, err := filepath.Abs("ecs-anywhere-install.sh")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "unshare", "--mount", "bash", "-euc", prelude+script)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "DIR=" + t.TempDir(), "DATA=" + data, "SCRIPT=" + file}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// The second time nothing is done twice.
func TestInstalls(t *testing.T) {
	t.Parallel()
	onHost(t, `
		has "first" "$(all --cluster prod --ecs-endpoint http://127.0.0.1:4580)" "registered as arn:aws:ecs:eu-west-1:1:container-instance/c/1"
		has "SSM's source" "$(did)" "https://amazon-ssm-eu-west-1.s3.eu-west-1.amazonaws.com/latest/debian_amd64/amazon-ssm-agent.deb"
		has "registration" "$(did)" "ssm: -register -code c1 -id a1 -region eu-west-1 -y"
		has "Docker" "$(did)" "apt-get: install -y docker.io"
		has "service" "$(did)" "systemctl: enable ecs"
		is "settings" "$(cat /etc/ecs/ecs.config)" "ECS_CLUSTER=prod"
		is "settings of the host" "$(cat /var/lib/ecs/ecs.config)" "AWS_DEFAULT_REGION=eu-west-1
ECS_EXTERNAL=true
ECS_BACKEND_HOST=http://127.0.0.1:4580"

		rm $DIR/log
		has "again" "$(all --cluster prod --ecs-endpoint http://127.0.0.1:4580)" "the ECS agent is installed already"
		is "settings" "$(cat /etc/ecs/ecs.config /var/lib/ecs/ecs.config | grep -c .)" 4
		case $(did) in *-register* | *apt-get*) echo "again: $(did)"; exit 1;; esac
		has "another cluster" "$(all --cluster other --no-start)" "systemctl start ecs"
		is "settings" "$(tail -n 1 /etc/ecs/ecs.config)" "ECS_CLUSTER=other"
	`)
}

func TestRefuses(t *testing.T) {
	t.Parallel()
	onHost(t, `
		refuses '--region "": want a region' script
		refuses '--region "x y": want a region' script --region "x y"
		refuses '--activation-id and --activation-code are missing' script --region eu-west-1
		refuses '--cluster "a b"' all --cluster "a b"
		refuses '--ecs-endpoint "x"' all --ecs-endpoint x
		refuses '--docker-install-source "y"' all --docker-install-source y
		refuses '--colour is no option' all --colour
		refuses '--key wants a value' script --key
		refuses '--package "x.rpm": want a deb, this host has apt-get' all --package x.rpm
		refuses '--key "/none": want the file of the public key' all --key /none
		refuses '--certs-file "/none" cannot be read' all --certs-file /none
		refuses 'nvidia-smi does not work' all --enable-gpu
		refuses 'Docker is not there' all --docker-install-source none

		# Somebody else's signature, and none.
		refuses 'the signature is not of the key' all --key $DATA/other.key
		rm -f $DIR/bin/amazon-ssm-agent; rm -r /var/lib/amazon
		refuses 'amazon-ssm-agent.deb: the signature is not of the key' all --ssm-key $DATA/other.key
		cp -r $DATA $DIR/data; rm $DIR/data/ecs-agent.deb.asc; DATA=$DIR/data
		refuses 'download https://example.com/ecs-agent.deb.asc' all
		[ ! -e /usr/libexec/amazon-ecs-init ]

		# An activation that is used up, and an agent that does not come up.
		rm -f $DIR/log; rm -rf /var/lib/amazon; touch $DIR/expired
		refuses 'the SSM agent could not be registered' all
		rm $DIR/expired
		touch $DIR/broken
		out=$(all --skip-gpg-check) && exit 1
		has "does not come up" "$out" "the agent is not registered after ten tries"
	`)
}
