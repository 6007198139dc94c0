<#
.SYNOPSIS
Installs the Amazon ECS container agent as the service AmazonECS, or puts another version in its place.

.DESCRIPTION
Copies the programs beside this script to %ProgramFiles%\Amazon\ECS and makes the service. An
installation that is there is replaced: tasks run on, settings and state stay. Run it as an
administrator, with Docker installed.

.PARAMETER Cluster
Name of the cluster. It is written to %ProgramData%\Amazon\ECS\ecs.config if that file is not there.

.PARAMETER Start
How the service starts: auto (after Docker), manual (for images, whose user data starts it), disabled.

.PARAMETER NoStart
Do not start the service now.
#>
[CmdletBinding()]
param(
    [string] $Cluster = '',
    [ValidateSet('auto', 'manual', 'disabled')] [string] $Start = 'auto',
    [switch] $NoStart
)
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

$principal = New-Object Security.Principal.WindowsPrincipal([Security.Principal.WindowsIdentity]::GetCurrent())
if (-not $principal.IsInRole([Security.Principal.WindowsBuiltInRole]::Administrator)) {
    throw 'install.ps1: run it as an administrator'
}

$programs = Join-Path $env:ProgramFiles 'Amazon\ECS'
$data = Join-Path $env:ProgramData 'Amazon\ECS'
$agent = Join-Path $programs 'amazon-ecs-agent.exe'
$plugins = Join-Path $programs 'cni'
foreach ($file in 'ecs-agent.exe', 'ecs-cni.exe') {
    if (-not (Test-Path (Join-Path $PSScriptRoot $file))) {
        throw "install.ps1: $file is not beside it: unpack the whole archive"
    }
}

$service = Get-Service -Name AmazonECS -ErrorAction SilentlyContinue
$ran = $null -ne $service -and $service.Status -eq 'Running'
if ($ran) {
    Stop-Service -Name AmazonECS
}

New-Item -ItemType Directory -Force -Path $programs, $plugins, $data | Out-Null
# Windows keeps the file of a running program; its name is free all the same.
foreach ($pair in @(@('ecs-agent.exe', $agent), @('ecs-cni.exe', (Join-Path $plugins 'vpc-eni.exe')))) {
    $new = $pair[1] + '.new'
    Copy-Item -Force -Path (Join-Path $PSScriptRoot $pair[0]) -Destination $new
    Move-Item -Force -Path $new -Destination $pair[1]
}

& $agent service install --start $Start
if ($LASTEXITCODE -ne 0) {
    throw "install.ps1: the service could not be made (exit code $LASTEXITCODE)"
}

$config = Join-Path $data 'ecs.config'
if ($Cluster -ne '') {
    if (Test-Path $config) {
        Write-Warning "$config is there and stays as it is; -Cluster has no effect"
    }
    else {
        Set-Content -Encoding ASCII -Path $config -Value "ECS_CLUSTER=$Cluster"
    }
}
if (-not $NoStart -and ($ran -or $Start -eq 'auto')) {
    Start-Service -Name AmazonECS
}
