# Machine images with the ECS agent: Amazon Linux 2023, Ubuntu, Debian and Windows Server.
#
#   packer init packaging/ami
#   packer build -only='amazon-ebs.al2023' -var version=0.1.0 packaging/ami
#
# The packages come from "make package". docs/ami.md has the rest.

packer {
  required_plugins {
    amazon = {
      source  = "github.com/hashicorp/amazon"
      version = ">= 1.2.8"
    }
  }
}

variable "version" {
  type        = string
  description = "Version of the agent, as in the names of its packages."
}

variable "packages" {
  type        = string
  default     = "bin/packages"
  description = "Folder with the packages."
}

variable "region" {
  type    = string
  default = "us-east-1"
}

variable "architecture" {
  type    = string
  default = "amd64"
  validation {
    condition     = contains(["amd64", "arm64"], var.architecture)
    error_message = "The architecture is amd64 or arm64."
  }
}

variable "root_gib" {
  type    = number
  default = 30
}

locals {
  machine  = var.architecture == "arm64" ? "aarch64" : "x86_64"
  instance = var.architecture == "arm64" ? "t4g.small" : "t3.small"
  rpm      = "${var.packages}/ecs-agent-${var.version}-1.${local.machine}.rpm"
  deb      = "${var.packages}/ecs-agent_${var.version}-1_${var.architecture}.deb"
  zip      = "${var.packages}/ecs-agent-windows_${var.version}_amd64.zip"
  stamp    = formatdate("YYYYMMDDhhmmss", timestamp())
}

source "amazon-ebs" "linux" {
  region        = var.region
  instance_type = local.instance
  imds_support  = "v2.0"
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 2
  }
  tags = {
    ecs_agent_version = var.version
  }
}

source "amazon-ebs" "windows" {
  region         = var.region
  instance_type  = "t3.large"
  communicator   = "winrm"
  winrm_username = "Administrator"
  winrm_use_ssl  = true
  winrm_insecure = true
  user_data_file = "${path.root}/winrm.ps1"
  imds_support   = "v2.0"
  tags = {
    ecs_agent_version = var.version
  }
}

build {
  source "amazon-ebs.linux" {
    name         = "al2023"
    ami_name     = "ecs-al2023-${var.architecture}-${var.version}-${local.stamp}"
    ssh_username = "ec2-user"
    source_ami_filter {
      owners      = ["amazon"]
      most_recent = true
      filters = {
        name                = "al2023-ami-minimal-2023.*-${local.machine}"
        virtualization-type = "hvm"
      }
    }
    launch_block_device_mappings {
      device_name           = "/dev/xvda"
      volume_size           = var.root_gib
      volume_type           = "gp3"
      delete_on_termination = true
    }
  }

  source "amazon-ebs.linux" {
    name         = "ubuntu"
    ami_name     = "ecs-ubuntu-${var.architecture}-${var.version}-${local.stamp}"
    ssh_username = "ubuntu"
    source_ami_filter {
      owners      = ["099720109477"]
      most_recent = true
      filters = {
        name                = "ubuntu/images/hvm-ssd*/ubuntu-noble-24.04-${var.architecture}-server-*"
        virtualization-type = "hvm"
      }
    }
    launch_block_device_mappings {
      device_name           = "/dev/sda1"
      volume_size           = var.root_gib
      volume_type           = "gp3"
      delete_on_termination = true
    }
  }

  source "amazon-ebs.linux" {
    name         = "debian"
    ami_name     = "ecs-debian-${var.architecture}-${var.version}-${local.stamp}"
    ssh_username = "admin"
    source_ami_filter {
      owners      = ["136693071363"]
      most_recent = true
      filters = {
        name                = "debian-12-${var.architecture}-*"
        virtualization-type = "hvm"
      }
    }
    launch_block_device_mappings {
      device_name           = "/dev/xvda"
      volume_size           = var.root_gib
      volume_type           = "gp3"
      delete_on_termination = true
    }
  }

  provisioner "file" {
    source      = source.name == "al2023" ? local.rpm : local.deb
    destination = source.name == "al2023" ? "/tmp/ecs-agent.rpm" : "/tmp/ecs-agent.deb"
  }

  provisioner "shell" {
    execute_command = "sudo sh -c '{{ .Vars }} {{ .Path }}'"
    script          = "${path.root}/provision.sh"
  }
}

build {
  source "amazon-ebs.windows" {
    name     = "windows"
    ami_name = "ecs-windows-2022-${var.version}-${local.stamp}"
    source_ami_filter {
      owners      = ["amazon"]
      most_recent = true
      filters = {
        name = "Windows_Server-2022-English-Full-Base-*"
      }
    }
  }

  provisioner "file" {
    source      = local.zip
    destination = "C:/Windows/Temp/ecs-agent.zip"
  }

  provisioner "powershell" {
    script = "${path.root}/provision.ps1"
  }

  provisioner "powershell" {
    inline = ["& 'C:/Program Files/Amazon/EC2Launch/EC2Launch.exe' sysprep --shutdown=false"]
  }
}
