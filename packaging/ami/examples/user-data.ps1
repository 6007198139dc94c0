<powershell>
# User data of a Windows container instance: the service is manual in the image.
Set-Content -Encoding ASCII -Path "$env:ProgramData\Amazon\ECS\ecs.config" -Value 'ECS_CLUSTER=production', 'ECS_ENABLE_TASK_IAM_ROLE=true'
Start-Service -Name AmazonECS
</powershell>
