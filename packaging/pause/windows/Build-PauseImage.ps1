<#
.SYNOPSIS
    Builds the pause image for this Windows Server, and an archive of it for others of the
    same release.
.DESCRIPTION
    To be run on a Windows Server with Docker, in the folder that scripts/pause-windows has
    filled. The agent needs amazon/amazon-ecs-pause:0.1.0 for tasks of network mode awsvpc;
    with the archive in %ProgramData%\Amazon\ECS\images it loads it by itself.
.PARAMETER Archive
    File for docker load; none is written without it.
.PARAMETER Base
    Base image; without it, that of this host's release.
#>
[CmdletBinding()]
param(
    [string] $Archive = '',
    [string] $Base = ''
)
$ErrorActionPreference = 'Stop'
Set-StrictMode -Version 2

# Releases by build number, and their base images.
$bases = @{
    '14393' = 'mcr.microsoft.com/windows/servercore:ltsc2016'
    '17763' = 'mcr.microsoft.com/windows/servercore:ltsc2019'
    '20348' = 'mcr.microsoft.com/windows/servercore:ltsc2022'
    '26100' = 'mcr.microsoft.com/windows/servercore:ltsc2025'
}
$image = 'amazon/amazon-ecs-pause:0.1.0'

if (-not $Base) {
    $build = (Get-ItemProperty 'HKLM:\SOFTWARE\Microsoft\Windows NT\CurrentVersion').CurrentBuild
    if (-not $bases.ContainsKey($build)) {
        throw "build $build of Windows has no base image here; name one with -Base (known: $(($bases.Keys | Sort-Object) -join ', '))"
    }
    $Base = $bases[$build]
}
& docker build --build-arg "BASE=$Base" --tag $image $PSScriptRoot
if ($LASTEXITCODE -ne 0) { throw "docker build ended with $LASTEXITCODE" }

# It has to start, and to end within moments when it is stopped.
$id = & docker run --detach --network none $image
if ($LASTEXITCODE -ne 0) { throw "docker run ended with $LASTEXITCODE" }
try {
    & docker exec --user ContainerAdministrator $id netsh interface ipv4 show route | Out-Null
    if ($LASTEXITCODE -ne 0) { throw "netsh in the image ended with $LASTEXITCODE" }
    & docker stop --time 10 $id | Out-Null
    if ($LASTEXITCODE -ne 0) { throw "docker stop ended with $LASTEXITCODE" }
}
finally {
    & docker rm --force $id | Out-Null
}
if ($Archive) {
    & docker save --output $Archive $image
    if ($LASTEXITCODE -ne 0) { throw "docker save ended with $LASTEXITCODE" }
}
