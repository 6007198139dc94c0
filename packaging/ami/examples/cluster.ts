// Container instances with the AWS CDK: the image is ours, everything else is as with any other.
import * as cdk from 'aws-cdk-lib';
import * as autoscaling from 'aws-cdk-lib/aws-autoscaling';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as ecs from 'aws-cdk-lib/aws-ecs';
import { Construct } from 'constructs';

export class ClusterStack extends cdk.Stack {
  constructor(scope: Construct, id: string, image: { [region: string]: string }) {
    super(scope, id);
    const vpc = new ec2.Vpc(this, 'Vpc');
    const cluster = new ecs.Cluster(this, 'Cluster', { vpc });
    const group = new autoscaling.AutoScalingGroup(this, 'Instances', {
      vpc,
      instanceType: new ec2.InstanceType('t3.medium'),
      machineImage: ec2.MachineImage.genericLinux(image),
      minCapacity: 1,
      maxCapacity: 10,
      requireImdsv2: true,
    });
    // Adds ECS_CLUSTER to the user data, as "echo ECS_CLUSTER=... >> /etc/ecs/ecs.config".
    cluster.addAsgCapacityProvider(new ecs.AsgCapacityProvider(this, 'Provider', { autoScalingGroup: group }));
  }
}
