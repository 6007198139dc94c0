/*
 * Plays powershell.exe in tests: the command goes to the test that plays Windows.
 */
#include "standin.h"
#include <objbase.h>
#include <wchar.h>

int wmain(int argc, WCHAR **argv)
{
	static WCHAR command[32768];
	char *said;
	HRESULT code;
	int i;

	if (!played()) {
		fputs("this is a stand-in for PowerShell, and there is no test to answer\n", stderr);
		return 1;
	}
	for (i = 1; i < argc; i++) {
		if (wcslen(command) + wcslen(argv[i]) + 2 > sizeof command / sizeof *command)
			return 1;
		if (i > 1)
			wcscat(command, L" ");
		wcscat(command, argv[i]);
	}
	code = ask("POWERSHELL", command, NULL, NULL, &said);
	if (said != NULL)
		fputs(said, stdout);
	free(said);
	return (int)code;
}
