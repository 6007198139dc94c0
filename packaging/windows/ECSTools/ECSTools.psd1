@{
    RootModule        = 'ECSTools.psm1'
    ModuleVersion     = '1.0.0'
    GUID              = '7d0b6f7e-5a2e-4f2e-9b63-3c5b8f1d2a60'
    Description       = 'Sets up a Windows Server as an Amazon ECS container instance.'
    PowerShellVersion = '5.1'
    FunctionsToExport = @('Initialize-ECSAgent', 'Initialize-ECSHost', 'Remove-ECSAgentInstallation')
    CmdletsToExport   = @()
    VariablesToExport = @()
    AliasesToExport   = @()
}
