/* Stands in for bcryptprimitives.dll under Wine 8, which has none. Every program of Go
 * loads it at its start, for random numbers; that is taken to mend another thing that Go
 * and this Wine do not agree on. */
#include <string.h>
#include <windows.h>

BOOLEAN NTAPI SystemFunction036(PVOID buffer, ULONG size); /* RtlGenRandom */

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T size)
{
	while (size > 0) {
		ULONG part = size > 0x10000000 ? 0x10000000 : (ULONG)size;
		if (!SystemFunction036(data, part))
			return FALSE;
		data += part;
		size -= part;
	}
	return TRUE;
}

/* Go deletes files with FileDispositionInformationEx, or in the way of older Windows where
 * it is answered with STATUS_INVALID_INFO_CLASS. This Wine does not know the class either,
 * but answers STATUS_NOT_IMPLEMENTED. */
#define FILE_DISPOSITION_INFORMATION_EX 64
#define STATUS_INVALID_INFO_CLASS ((LONG)0xC0000003)

typedef LONG(NTAPI *set_information)(HANDLE, PVOID, PVOID, ULONG, ULONG);
static set_information original;

static LONG NTAPI set(HANDLE file, PVOID status, PVOID data, ULONG size, ULONG class)
{
	if (class == FILE_DISPOSITION_INFORMATION_EX)
		return STATUS_INVALID_INFO_CLASS;
	return original(file, status, data, size, class);
}

/* The call in Wine's ntdll.dll, which has no address relative to itself, so that a copy of
 * it works elsewhere. Its number is left out of the comparison. */
static const BYTE known[] = {
	0x4c, 0x8b, 0xd1,                               /* mov r10, rcx */
	0xb8, 0, 0, 0, 0,                               /* mov eax, number */
	0xf6, 0x04, 0x25, 0x08, 0x03, 0xfe, 0x7f, 0x01, /* test byte [0x7ffe0308], 1 */
	0x75, 0x03,                                     /* jne over the next two */
	0x0f, 0x05,                                     /* syscall */
	0xc3,                                           /* ret */
	0xeb, 0x01,                                     /* jmp over the next one */
	0xc3,                                           /* ret */
	0xff, 0x14, 0x25, 0x00, 0x10, 0xfe, 0x7f,       /* call [0x7ffe1000] */
	0xc3,                                           /* ret */
};

BOOL WINAPI DllMain(HINSTANCE self, DWORD reason, PVOID reserved)
{
	static const BYTE jump[] = {0xff, 0x25, 0, 0, 0, 0}; /* jmp [rip], to what follows */
	set_information target = set;
	BYTE *call, *copy;
	DWORD before;

	(void)self, (void)reserved;
	if (reason != DLL_PROCESS_ATTACH)
		return TRUE;
	call = (BYTE *)GetProcAddress(GetModuleHandleW(L"ntdll.dll"), "NtSetInformationFile");
	if (!call || memcmp(call, known, 4) || memcmp(call + 8, known + 8, sizeof known - 8))
		return FALSE; /* the program does not start, which tells of it */
	copy = VirtualAlloc(NULL, sizeof known, MEM_COMMIT | MEM_RESERVE, PAGE_EXECUTE_READWRITE);
	if (!copy || !VirtualProtect(call, sizeof known, PAGE_EXECUTE_READWRITE, &before))
		return FALSE;
	memcpy(copy, call, sizeof known);
	original = (set_information)copy;
	memcpy(call, jump, sizeof jump);
	memcpy(call + sizeof jump, &target, sizeof target);
	return VirtualProtect(call, sizeof known, before, &before);
}
