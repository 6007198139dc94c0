/*
 * How the stand-ins ask the test that plays Windows: HNS_STANDIN_AT is its HOST:PORT. A
 * question is a line of fields between tabs. The answer begins with a line that holds an
 * HRESULT in hexadecimal, or an exit code; the rest is what is said.
 */
#include <winsock2.h>
#include <windows.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* Whether there is a test to ask. */
static BOOL played(void)
{
	return GetEnvironmentVariableA("HNS_STANDIN_AT", NULL, 0) > 0;
}

static SOCKET dial(void)
{
	char at[256], *colon;
	struct sockaddr_in to = { .sin_family = AF_INET };
	WSADATA data;
	SOCKET s;
	DWORD n = GetEnvironmentVariableA("HNS_STANDIN_AT", at, sizeof at);

	if (n == 0 || n >= sizeof at || (colon = strrchr(at, ':')) == NULL || WSAStartup(MAKEWORD(2, 2), &data) != 0)
		return INVALID_SOCKET;
	*colon = 0;
	to.sin_addr.s_addr = inet_addr(at);
	to.sin_port = htons((u_short)atoi(colon + 1));
	s = socket(AF_INET, SOCK_STREAM, 0);
	if (s != INVALID_SOCKET && connect(s, (struct sockaddr *)&to, sizeof to) != 0) {
		closesocket(s);
		return INVALID_SOCKET;
	}
	return s;
}

/* Asks with up to four fields; *said is to be freed. A test that is gone is E_FAIL. */
static HRESULT ask(const char *what, const WCHAR *a, const WCHAR *b, const WCHAR *c, char **said)
{
	char *x = utf8(a), *y = utf8(b), *z = utf8(c), *answer = NULL, *rest, part[4096];
	size_t size = strlen(what) + strlen(x) + strlen(y) + strlen(z) + 8, have = 0;
	char *question = malloc(size), *p;
	SOCKET s = dial();
	int n;
	HRESULT hr = E_FAIL;

	*said = NULL;
	snprintf(question, size, "%s\t%s\t%s\t%s\n", what, x, y, z);
	for (p = question; *p && p[1]; p++)
		if (*p == '\r' || *p == '\n')
			*p = ' ';
	if (s != INVALID_SOCKET && send(s, question, (int)strlen(question), 0) == (int)strlen(question)) {
		while ((n = recv(s, part, sizeof part, 0)) > 0) {
			answer = realloc(answer, have + n + 1);
			memcpy(answer + have, part, n);
			have += n;
			answer[have] = 0;
		}
		if (answer != NULL && (rest = strchr(answer, '\n')) != NULL) {
			hr = (HRESULT)strtoul(answer, NULL, 16);
			*said = strdup(rest + 1);
		}
	}
	if (s != INVALID_SOCKET)
		closesocket(s);
	free(answer);
	free(question);
	free(x);
	free(y);
	free(z);
	return hr;
}

static inline WCHAR *allocated(const char *text)
{
	int n = MultiByteToWideChar(CP_UTF8, 0, text, -1, NULL, 0);
	WCHAR *out = CoTaskMemAlloc(n * sizeof *out);

	MultiByteToWideChar(CP_UTF8, 0, text, -1, out, n);
	return out;
}
