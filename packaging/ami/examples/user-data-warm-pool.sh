#!/bin/bash
# User data of an instance of an auto scaling group with a warm pool: it registers when it is
# put into service, and not while it waits.
cat >>/etc/ecs/ecs.config <<'END'
ECS_CLUSTER=production
ECS_WARM_POOLS_CHECK=true
END
