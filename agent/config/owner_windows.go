package config

import windows "ecsagent/platform_windows"

// trustedOwner is Sources.TrustedOwner of this machine.
var trustedOwner = windows.TrustedOwner
