#!/bin/bash
# User data of a container instance. The agent is enabled in the image and starts after this.
cat >>/etc/ecs/ecs.config <<'END'
ECS_CLUSTER=production
ECS_ENABLE_SPOT_INSTANCE_DRAINING=true
ECS_CONTAINER_INSTANCE_TAGS={"team":"web"}
END
