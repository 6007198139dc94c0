# The functions and parameters with which user data of container instances sets up the agent
# (docs/windows.md). Settings go into the environment of the machine, which the service
# reads when it starts.
Set-StrictMode -Version 2

$script:Service = 'AmazonECS'
$script:Programs = Join-Path $env:ProgramFiles 'Amazon\ECS'
$script:Data = Join-Path $env:ProgramData 'Amazon\ECS'
$script:Agent = Join-Path $script:Programs 'amazon-ecs-agent.exe'
$script:IntrospectionRule = 'Allow Inbound Port 51678'

function Set-MachineVariable {
    param([string] $Name, [string] $Value)
    [Environment]::SetEnvironmentVariable($Name, $Value, 'Machine')
    Set-Item -Path "Env:$Name" -Value $Value
}

function Invoke-Agent {
    param([string[]] $Arguments)
    & $script:Agent @Arguments
    if ($LASTEXITCODE -ne 0) {
        throw "$($script:Agent) $($Arguments -join ' ') ended with $LASTEXITCODE"
    }
}

function Assert-Administrator {
    $me = New-Object Security.Principal.WindowsPrincipal([Security.Principal.WindowsIdentity]::GetCurrent())
    if (-not $me.IsInRole([Security.Principal.WindowsBuiltInRole]::Administrator)) {
        throw 'this has to be run by an administrator'
    }
}

function Assert-JsonArray {
    param([string] $Parameter, [string] $Value)
    try {
        ConvertFrom-Json -InputObject $Value | Out-Null
    }
    catch {
        throw "-${Parameter}: '$Value' is not JSON; want an array such as '[""json-file"",""awslogs""]'"
    }
    if (-not $Value.TrimStart().StartsWith('[')) {
        throw "-${Parameter}: '$Value'; want an array such as '[""json-file"",""awslogs""]'"
    }
}

<#
.SYNOPSIS
    Sets up this host as a container instance and starts the agent.
.DESCRIPTION
    Settings without a parameter are set with machine scope before this is called. The agent
    itself makes the way of tasks to 169.254.170.2, each time that it starts; nothing but the
    variable is to be set for it.
#>
function Initialize-ECSAgent {
    [CmdletBinding()]
    param(
        [string] $Cluster = 'default',
        [switch] $EnableTaskIAMRole,
        [string] $LoggingDrivers = '',
        [switch] $EnableTaskENI,
        [switch] $AwsvpcBlockIMDS,
        [string] $AwsvpcAdditionalLocalRoutes = '',
        [switch] $ECSAllowOffHostIntrospectionAccess,
        [string] $Version = '',
        [switch] $ExternalInstance,
        [string] $AWSDefaultRegion = '',
        [string] $ECSEndpoint = '',
        [string] $OverrideSourceRegion = '',
        [string] $OverrideSourceBucket = ''
    )
    $ErrorActionPreference = 'Stop'
    Assert-Administrator
    if ($LoggingDrivers) { Assert-JsonArray 'LoggingDrivers' $LoggingDrivers }
    if ($AwsvpcAdditionalLocalRoutes) { Assert-JsonArray 'AwsvpcAdditionalLocalRoutes' $AwsvpcAdditionalLocalRoutes }
    if ($Version -or $OverrideSourceRegion -or $OverrideSourceBucket) {
        # The buckets hold the official agent, which would take this one's place.
        Write-Warning 'Version, OverrideSourceRegion and OverrideSourceBucket have no effect: the agent is the one that is installed'
    }
    if (-not (Test-Path $script:Agent)) {
        throw "$($script:Agent) is not there: install the agent first"
    }
    if ($ExternalInstance -and -not $AWSDefaultRegion -and -not $env:AWS_DEFAULT_REGION) {
        throw '-ExternalInstance takes -AWSDefaultRegion'
    }

    Set-MachineVariable 'ECS_CLUSTER' $Cluster
    if ($EnableTaskIAMRole) { Set-MachineVariable 'ECS_ENABLE_TASK_IAM_ROLE' 'true' }
    if ($LoggingDrivers) { Set-MachineVariable 'ECS_AVAILABLE_LOGGING_DRIVERS' $LoggingDrivers }
    if ($EnableTaskENI) { Set-MachineVariable 'ECS_ENABLE_TASK_ENI' 'true' }
    if ($AwsvpcBlockIMDS) { Set-MachineVariable 'ECS_AWSVPC_BLOCK_IMDS' 'true' }
    if ($AwsvpcAdditionalLocalRoutes) { Set-MachineVariable 'ECS_AWSVPC_ADDITIONAL_LOCAL_ROUTES' $AwsvpcAdditionalLocalRoutes }
    if ($ExternalInstance) { Set-MachineVariable 'ECS_EXTERNAL' 'true' }
    if ($AWSDefaultRegion) { Set-MachineVariable 'AWS_DEFAULT_REGION' $AWSDefaultRegion }
    if ($ECSEndpoint) { Set-MachineVariable 'ECS_BACKEND_HOST' $ECSEndpoint }
    if ($ECSAllowOffHostIntrospectionAccess -or $env:ECS_ALLOW_OFFHOST_INTROSPECTION_ACCESS -eq 'true') {
        Set-MachineVariable 'ECS_INTROSPECTION_ADDRESS' ':51678'
        if (-not (Get-NetFirewallRule -DisplayName $script:IntrospectionRule -ErrorAction SilentlyContinue)) {
            New-NetFirewallRule -DisplayName $script:IntrospectionRule -Direction Inbound -LocalPort 51678 -Protocol TCP -Action Allow | Out-Null
        }
    }

    Invoke-Agent @('service', 'install')
    Initialize-ECSHost
    # A service that runs has the settings of its start.
    Restart-Service -Name $script:Service -Force
}

<#
.SYNOPSIS
    Keeps the agent's ports from what Windows reserves for others.
.DESCRIPTION
    The way of tasks to the agent needs no preparation: the agent makes it, and makes it
    again after a restart of the host or of Docker.
#>
function Initialize-ECSHost {
    [CmdletBinding()]
    param()
    $ErrorActionPreference = 'Stop'
    Assert-Administrator
    $reserved = & netsh int ipv4 show excludedportrange protocol=tcp
    if (-not ($reserved -match '^\s*51678\s+51679\s')) {
        & netsh int ipv4 add excludedportrange protocol=tcp startport=51678 numberofports=2 | Out-Null
        if ($LASTEXITCODE -ne 0) {
            # Somebody listens there, the agent as a rule, or a range of others holds them.
            Write-Warning 'ports 51678 and 51679 could not be kept from the ranges that Windows hands out'
        }
    }
}

<#
.SYNOPSIS
    Stops the agent and removes its service and program. Settings, data and logs stay.
#>
function Remove-ECSAgentInstallation {
    [CmdletBinding(SupportsShouldProcess = $true, ConfirmImpact = 'High')]
    param()
    $ErrorActionPreference = 'Stop'
    Assert-Administrator
    if (-not $PSCmdlet.ShouldProcess($script:Programs, 'remove the ECS agent')) { return }
    if (Test-Path $script:Agent) {
        Invoke-Agent @('service', 'uninstall')
        Remove-Item -Path $script:Programs -Recurse -Force
    }
    Get-NetFirewallRule -DisplayName $script:IntrospectionRule -ErrorAction SilentlyContinue | Remove-NetFirewallRule
}

Export-ModuleMember -Function 'Initialize-ECSAgent', 'Initialize-ECSHost', 'Remove-ECSAgentInstallation'
