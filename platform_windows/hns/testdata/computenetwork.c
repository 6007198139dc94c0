/*
 * Plays computenetwork.dll in tests: what HCN is asked for goes to the test that plays it.
 * A handle is the text of a GUID.
 */
#include "standin.h"
#include <objbase.h>

static WCHAR *text_of(const GUID *id)
{
	WCHAR braced[64];

	StringFromGUID2(id, braced, 64);
	braced[37] = 0; /* without braces */
	return _wcsdup(braced + 1);
}

/* Asks, and gives back what was said: as the properties, or as the description of an error. */
static HRESULT hcn(const char *what, const WCHAR *a, const WCHAR *b, WCHAR **properties, WCHAR **result)
{
	char *said;
	HRESULT hr = ask(what, a, b, NULL, &said);

	if (result != NULL)
		*result = NULL;
	if (said != NULL && *said != 0) {
		if (hr == S_OK && properties != NULL)
			*properties = allocated(said);
		if (hr != S_OK && result != NULL)
			*result = allocated(said);
	}
	free(said);
	return hr;
}

#define KIND(K, k) \
__declspec(dllexport) HRESULT WINAPI HcnEnumerate##K##s(const WCHAR *query, WCHAR **list, WCHAR **result) \
{ \
	return hcn("HCN enumerate " k, query, NULL, list, result); \
} \
__declspec(dllexport) HRESULT WINAPI HcnOpen##K(const GUID *id, WCHAR **handle, WCHAR **result) \
{ \
	*handle = text_of(id); \
	return hcn("HCN open " k, *handle, NULL, NULL, result); \
} \
__declspec(dllexport) HRESULT WINAPI HcnModify##K(const WCHAR *handle, const WCHAR *settings, WCHAR **result) \
{ \
	return hcn("HCN modify " k, handle, settings, NULL, result); \
} \
__declspec(dllexport) HRESULT WINAPI HcnQuery##K##Properties(const WCHAR *handle, const WCHAR *query, WCHAR **properties, WCHAR **result) \
{ \
	return hcn("HCN query " k, handle, query, properties, result); \
} \
__declspec(dllexport) HRESULT WINAPI HcnDelete##K(const GUID *id, WCHAR **result) \
{ \
	WCHAR *text = text_of(id); \
	HRESULT hr = hcn("HCN delete " k, text, NULL, NULL, result); \
	free(text); \
	return hr; \
} \
__declspec(dllexport) HRESULT WINAPI HcnClose##K(WCHAR *handle) \
{ \
	free(handle); \
	return S_OK; \
}

KIND(Network, "network")
KIND(Endpoint, "endpoint")
KIND(Namespace, "namespace")

/* A new object has the id that the test answers with, where the caller leaves it open. */
__declspec(dllexport) HRESULT WINAPI HcnCreateNamespace(const GUID *id, const WCHAR *settings, WCHAR **handle, WCHAR **result)
{
	WCHAR *text = text_of(id), *chosen = NULL;
	HRESULT hr = hcn("HCN create namespace", text, settings, &chosen, result);

	*handle = NULL;
	if (chosen != NULL) {
		*handle = _wcsdup(chosen);
		CoTaskMemFree(chosen);
	}
	free(text);
	return hr;
}
