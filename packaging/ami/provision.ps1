# Makes a Windows Server one from which container instances are started. The agent does not
# start by itself: user data writes its settings, and starts it.
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

Install-WindowsFeature -Name Containers | Out-Null
if (-not (Get-Service -Name docker -ErrorAction SilentlyContinue)) {
    Invoke-WebRequest -UseBasicParsing -OutFile "$env:TEMP\install-docker-ce.ps1" `
        'https://raw.githubusercontent.com/microsoft/Windows-Containers/Main/helpful_tools/Install-DockerCE/install-docker-ce.ps1'
    & "$env:TEMP\install-docker-ce.ps1" -NoRestart
}

$unpacked = Join-Path $env:TEMP 'ecs-agent'
Expand-Archive -Force -Path "$env:SystemRoot\Temp\ecs-agent.zip" -DestinationPath $unpacked
& (Join-Path $unpacked 'install.ps1') -Start manual -NoStart

Remove-Item -Recurse -Force -Path $unpacked, "$env:SystemRoot\Temp\ecs-agent.zip"
$state = Join-Path $env:ProgramData 'Amazon\ECS\data'
if (Test-Path $state) {
    Remove-Item -Recurse -Force -Path $state
}
