# An auto scaling group of container instances with a warm pool, for Terraform.
variable "ami" {
  type = string
}

variable "subnets" {
  type = list(string)
}

resource "aws_ecs_cluster" "production" {
  name = "production"
}

data "aws_iam_policy_document" "ec2" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "instance" {
  name               = "ecs-instance"
  assume_role_policy = data.aws_iam_policy_document.ec2.json
}

resource "aws_iam_role_policy_attachment" "instance" {
  role       = aws_iam_role.instance.name
  policy_arn = "arn:aws:iam::aws:policy/service-role/AmazonEC2ContainerServiceforEC2Role"
}

resource "aws_iam_instance_profile" "instance" {
  name = "ecs-instance"
  role = aws_iam_role.instance.name
}

resource "aws_launch_template" "instance" {
  name_prefix   = "ecs-"
  image_id      = var.ami
  instance_type = "t3.medium"
  user_data     = filebase64("${path.module}/user-data-warm-pool.sh")
  iam_instance_profile {
    arn = aws_iam_instance_profile.instance.arn
  }
  metadata_options {
    http_tokens                 = "required"
    http_put_response_hop_limit = 2
  }
}

resource "aws_autoscaling_group" "instances" {
  name                  = "ecs-production"
  min_size              = 1
  max_size              = 10
  vpc_zone_identifier   = var.subnets
  protect_from_scale_in = true
  launch_template {
    id      = aws_launch_template.instance.id
    version = "$Latest"
  }
  warm_pool {
    pool_state = "Stopped"
    min_size   = 2
  }
  tag {
    key                 = "AmazonECSManaged"
    value               = ""
    propagate_at_launch = true
  }
}
