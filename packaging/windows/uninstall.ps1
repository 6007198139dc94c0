<#
.SYNOPSIS
Removes the Amazon ECS container agent. Tasks run on; settings, state and logs stay.

.PARAMETER Purge
Remove settings, state and logs too.
#>
[CmdletBinding()]
param([switch] $Purge)
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

$principal = New-Object Security.Principal.WindowsPrincipal([Security.Principal.WindowsIdentity]::GetCurrent())
if (-not $principal.IsInRole([Security.Principal.WindowsBuiltInRole]::Administrator)) {
    throw 'uninstall.ps1: run it as an administrator'
}

$programs = Join-Path $env:ProgramFiles 'Amazon\ECS'
$agent = Join-Path $programs 'amazon-ecs-agent.exe'
if (Test-Path $agent) {
    & $agent service uninstall
    if ($LASTEXITCODE -ne 0) {
        throw "uninstall.ps1: the service could not be removed (exit code $LASTEXITCODE)"
    }
    Remove-Item -Force -Path $agent
}
$plugin = Join-Path $programs 'cni\vpc-eni.exe'
if (Test-Path $plugin) {
    Remove-Item -Force -Path $plugin
}
if ($Purge) {
    $data = Join-Path $env:ProgramData 'Amazon\ECS'
    if (Test-Path $data) {
        Remove-Item -Recurse -Force -Path $data
    }
}
