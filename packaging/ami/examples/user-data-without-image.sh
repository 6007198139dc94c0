#!/bin/bash
# User data that installs the agent on a plain Amazon Linux 2023. "--no-block": the agent starts
# after user data, and a start that waits would wait for itself.
set -e
dnf install -y docker
systemctl enable --now docker
aws s3 cp s3://my-packages/ecs-agent.rpm /root/ecs-agent.rpm
dnf install -y /root/ecs-agent.rpm
echo ECS_CLUSTER=production >>/etc/ecs/ecs.config
systemctl enable --now --no-block ecs
