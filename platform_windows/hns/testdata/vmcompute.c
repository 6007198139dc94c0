/*
 * Plays vmcompute.dll in tests. With HNS_STANDIN_AT it passes on what it is called for to
 * the test that plays HNS and HCS, with the state that they keep. Without, it writes it down
 * and answers with the lines of a script: HNS_STANDIN names a folder with the file
 * "answers"; the file "calls" is written there. The answer to a call of HCS is an HRESULT
 * in hexadecimal.
 */
#include "standin.h"
#include <objbase.h>
#include <ws2ipdef.h>
#include <iphlpapi.h>
#include <netioapi.h>

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

__declspec(dllexport) HRESULT WINAPI HNSCall(const WCHAR *method, const WCHAR *path, const WCHAR *object, WCHAR **response)
{
	char *answer;
	HRESULT hr;

	if (played()) {
		hr = ask("HNS", method, path, object, &answer);
		if (answer != NULL && hr == S_OK)
			*response = allocated(answer);
		free(answer);
		return hr;
	}
	if (!write_down("HNS", method, path, object) || (answer = next_answer()) == NULL)
		return E_FAIL;
	*response = allocated(answer);
	return S_OK;
}

static HRESULT hcs(const char *api, const WCHAR *id, const WCHAR *text)
{
	char *answer;
	HRESULT hr;

	if (played()) {
		hr = ask(api, id, text, NULL, &answer);
		free(answer);
		return hr;
	}
	if (text == NULL)
		text = id;
	if (!write_down(api, text, L"", L"") || (answer = next_answer()) == NULL)
		return E_FAIL;
	return (HRESULT)strtoul(answer, NULL, 16);
}

__declspec(dllexport) HRESULT WINAPI HcsOpenComputeSystem(const WCHAR *id, HANDLE *system, WCHAR **result)
{
	*result = NULL;
	*system = (HANDLE)_wcsdup(id);
	return hcs("HCS open", id, NULL);
}

__declspec(dllexport) HRESULT WINAPI HcsModifyComputeSystem(HANDLE system, const WCHAR *configuration, WCHAR **result)
{
	*result = NULL;
	return hcs("HCS modify", (const WCHAR *)system, configuration);
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

__declspec(dllexport) HRESULT WINAPI HcsCloseComputeSystem(HANDLE system)
{
	free(system);
	return S_OK;
}

/* Tells that this is the stand-in: starts the script of another test. */
__declspec(dllexport) void WINAPI StandInRestart(void) { answered = 0; }

/*
 * A virtual switch leaves the host an adapter, which Wine cannot have: the list of adapters
 * gets those that the test adds, and says of others what the test says.
 */
static DWORD (WINAPI *real_table)(MIB_IF_TABLE_LEVEL, PMIB_IF_TABLE2 *);

static DWORD WINAPI table_with_switches(MIB_IF_TABLE_LEVEL level, PMIB_IF_TABLE2 *table)
{
	MIB_IF_TABLE2 *real, *all;
	char *said, *line, *end;
	DWORD status = real_table(level, &real);
	ULONG i, n = 0;

	if (status != NO_ERROR)
		return status;
	if (ask("ADAPTERS", NULL, NULL, NULL, &said) != S_OK || said == NULL) {
		*table = real;
		return NO_ERROR;
	}
	for (line = said; *line; line++)
		n += *line == '\n';
	all = HeapAlloc(GetProcessHeap(), HEAP_ZERO_MEMORY, sizeof *all + (real->NumEntries + n) * sizeof all->Table[0]);
	for (i = 0; i < real->NumEntries; i++)
		all->Table[i] = real->Table[i];
	for (line = said; (end = strchr(line, '\n')) != NULL; line = end + 1, i++) {
		MIB_IF_ROW2 *row = &all->Table[i];
		unsigned mac[6], index, up, k;
		char name[256];

		*end = 0;
		if (sscanf(line, "%u\t%u\t%x:%x:%x:%x:%x:%x\t%255[^\t]", &index, &up, mac, mac + 1, mac + 2, mac + 3, mac + 4, mac + 5, name) != 9)
			break;
		row->InterfaceIndex = index;
		row->AdminStatus = up ? NET_IF_ADMIN_STATUS_UP : NET_IF_ADMIN_STATUS_DOWN;
		row->PhysicalAddressLength = 6;
		for (k = 0; k < 6; k++)
			row->PhysicalAddress[k] = (UCHAR)mac[k];
		MultiByteToWideChar(CP_UTF8, 0, name, -1, row->Alias, IF_MAX_STRING_SIZE);
	}
	all->NumEntries = i;
	FreeMibTable(real);
	free(said);
	*table = all;
	return NO_ERROR;
}

/* Memory above a module, near enough for its table of exports to lead there. */
static unsigned char *above(unsigned char *module)
{
	unsigned char *at;

	for (at = module + (1 << 24); at < module + (1u << 30); at += 1 << 20) {
		void *got = VirtualAlloc(at, 64, MEM_RESERVE | MEM_COMMIT, PAGE_EXECUTE_READWRITE);
		if (got != NULL)
			return got;
	}
	return NULL;
}

/* Makes an export of a module lead to a function of ours, for who looks it up later. */
static void replace_export(unsigned char *module, const char *name, void *ours)
{
	IMAGE_NT_HEADERS *nt = (IMAGE_NT_HEADERS *)(module + ((IMAGE_DOS_HEADER *)module)->e_lfanew);
	IMAGE_EXPORT_DIRECTORY *dir = (IMAGE_EXPORT_DIRECTORY *)(module + nt->OptionalHeader.DataDirectory[IMAGE_DIRECTORY_ENTRY_EXPORT].VirtualAddress);
	DWORD *names = (DWORD *)(module + dir->AddressOfNames), *functions = (DWORD *)(module + dir->AddressOfFunctions), i, old;
	WORD *ordinals = (WORD *)(module + dir->AddressOfNameOrdinals);
	unsigned char *jump = above(module);

	if (jump == NULL)
		return;
	memcpy(jump, "\x48\xb8", 2); /* mov rax, ours; jmp rax */
	memcpy(jump + 2, &ours, sizeof ours);
	memcpy(jump + 10, "\xff\xe0", 2);
	for (i = 0; i < dir->NumberOfNames; i++) {
		DWORD *entry = &functions[ordinals[i]];

		if (strcmp((char *)module + names[i], name) != 0 || !VirtualProtect(entry, sizeof *entry, PAGE_READWRITE, &old))
			continue;
		*entry = (DWORD)(jump - module);
		VirtualProtect(entry, sizeof *entry, old, &old);
	}
}

BOOL WINAPI DllMain(HINSTANCE self, DWORD reason, LPVOID reserved)
{
	HMODULE module;

	if (reason == DLL_PROCESS_ATTACH && played() && (module = LoadLibraryA("iphlpapi.dll")) != NULL) {
		real_table = (void *)GetProcAddress(module, "GetIfTable2Ex");
		replace_export((unsigned char *)module, "GetIfTable2Ex", (void *)table_with_switches);
	}
	return TRUE;
}
