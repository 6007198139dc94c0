/*
 * Plays vmcompute.dll in tests: writes down what it is called for, and answers with the
 * lines of a script. HNS_STANDIN names a folder with the file "answers"; the file "calls"
 * is written there. The answer to a call of HCS is an HRESULT in hexadecimal.
 */
#include <windows.h>
#include <stdio.h>
#include <stdlib.h>

static int answered;

static FILE *in_folder(const char *name, const char *mode)
{
	char folder[MAX_PATH], path[MAX_PATH + 16];
	DWORD n = GetEnvironmentVariableA("HNS_STANDIN", folder, sizeof folder);

	if (n == 0 || n >= sizeof folder)
		return NULL;
	snprintf(path, sizeof path, "%s\\%s", folder, name);
	return fopen(path, mode);
}

static char *utf8(const WCHAR *text)
{
	int n;
	char *out;

	if (text == NULL)
		text = L"";
	n = WideCharToMultiByte(CP_UTF8, 0, text, -1, NULL, 0, NULL, NULL);
	out = malloc(n);
	WideCharToMultiByte(CP_UTF8, 0, text, -1, out, n, NULL, NULL);
	return out;
}

static BOOL write_down(const char *api, const WCHAR *a, const WCHAR *b, const WCHAR *c)
{
	char *x = utf8(a), *y = utf8(b), *z = utf8(c);
	FILE *f = in_folder("calls", "ab");

	if (f != NULL) {
		fprintf(f, "%s %s %s %s\n", api, x, y, z);
		fclose(f);
	}
	free(x);
	free(y);
	free(z);
	return f != NULL;
}

/* The next line of the script, without its end; NULL after the last. */
static char *next_answer(void)
{
	static char line[65536];
	FILE *f = in_folder("answers", "rb");
	int i;

	if (f == NULL)
		return NULL;
	for (i = 0; i <= answered; i++)
		if (fgets(line, sizeof line, f) == NULL) {
			fclose(f);
			return NULL;
		}
	fclose(f);
	answered++;
	line[strcspn(line, "\r\n")] = 0;
	return line;
}

static WCHAR *allocated(const char *text)
{
	int n = MultiByteToWideChar(CP_UTF8, 0, text, -1, NULL, 0);
	WCHAR *out = CoTaskMemAlloc(n * sizeof *out);

	MultiByteToWideChar(CP_UTF8, 0, text, -1, out, n);
	return out;
}

__declspec(dllexport) HRESULT WINAPI HNSCall(const WCHAR *method, const WCHAR *path, const WCHAR *object, WCHAR **response)
{
	char *answer;

	if (!write_down("HNS", method, path, object) || (answer = next_answer()) == NULL)
		return E_FAIL;
	*response = allocated(answer);
	return S_OK;
}

static HRESULT hcs(const char *api, const WCHAR *text)
{
	char *answer;

	if (!write_down(api, text, L"", L"") || (answer = next_answer()) == NULL)
		return E_FAIL;
	return (HRESULT)strtoul(answer, NULL, 16);
}

__declspec(dllexport) HRESULT WINAPI HcsOpenComputeSystem(const WCHAR *id, HANDLE *system, WCHAR **result)
{
	*result = NULL;
	*system = (HANDLE)1;
	return hcs("HCS open", id);
}

__declspec(dllexport) HRESULT WINAPI HcsModifyComputeSystem(HANDLE system, const WCHAR *configuration, WCHAR **result)
{
	*result = NULL;
	return hcs("HCS modify", configuration);
}

__declspec(dllexport) HRESULT WINAPI HcsGetComputeSystemProperties(HANDLE system, const WCHAR *query, WCHAR **properties, WCHAR **result)
{
	*result = NULL;
	*properties = allocated("{\"SystemType\":\"Container\",\"RuntimeOSType\":\"Windows\"}");
	return S_OK;
}

__declspec(dllexport) HRESULT WINAPI HcsRegisterComputeSystemCallback(HANDLE system, void *callback, void *context, HANDLE *handle)
{
	*handle = (HANDLE)1;
	return S_OK;
}

__declspec(dllexport) HRESULT WINAPI HcsUnregisterComputeSystemCallback(HANDLE handle) { return S_OK; }

__declspec(dllexport) HRESULT WINAPI HcsCloseComputeSystem(HANDLE system) { return S_OK; }

/* Tells that this is the stand-in: starts the script of another test. */
__declspec(dllexport) void WINAPI StandInRestart(void) { answered = 0; }
