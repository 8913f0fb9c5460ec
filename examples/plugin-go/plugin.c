/* The tables of a plugin in Go, whose functions are in plugin.go. */
#define BUSBAR_EXPORT_TYPES
#include "types.h"

#include "_cgo_export.h"

#include <stdlib.h>

static busbar_status call(const busbar_plugin *plugin, uint32_t method, busbar_slice in,
                          busbar_buf *out) {
  const busbar_host *host = plugin->plugin_data;
  uint8_t text[256];
  busbar_buf why = {text, sizeof text, 0};
  busbar_status status = geometryCall(method, (uint8_t *)in.ptr, in.len, out, &why);
  if (why.len > 0) host->error(host, status, (const char *)text, why.len);
  return status;
}

static void destroy(const busbar_plugin *plugin) { free((void *)plugin); }

static busbar_status create(const busbar_host *host, const char *id, const busbar_plugin **out) {
  (void)id;
  busbar_plugin *it = calloc(1, sizeof *it);
  if (it == NULL) return BUSBAR_E_NOMEM;
  it->struct_size = sizeof *it;
  it->abi_minor = BUSBAR_ABI_MINOR;
  it->plugin_data = (void *)host;
  it->call = call;
  it->destroy = destroy;
  *out = it;
  return BUSBAR_OK;
}

/* A call of Go takes tens of nanoseconds more than one of C, and may wait for its collector. */
#define PURE (BUSBAR_METHOD_THREAD_SAFE | BUSBAR_METHOD_IDEMPOTENT)

static const busbar_method methods[] = {
    {0, PURE, "length", GEOMETRY_POINT_HASH, GEOMETRY_LENGTH_RESULT_HASH},
    {1, PURE, "mix", GEOMETRY_MIX_ARGUMENTS_HASH, GEOMETRY_POINT_HASH},
    {2, PURE, "checksum", 0, 0},
};

static const busbar_manifest manifest = {
    .magic = BUSBAR_MAGIC,
    .struct_size = sizeof manifest,
    .abi_major = BUSBAR_ABI_MAJOR,
    .abi_minor = BUSBAR_ABI_MINOR,
    .pointer_bits = 8 * sizeof(void *),
    .flags = BUSBAR_PLUGIN_SINGLETON | BUSBAR_PLUGIN_OWN_RUNTIME,
    .runtime = BUSBAR_RUNTIME_GO,
    .id = "go.geometry",
    .version = "1.0.0",
    .target = BUSBAR_TARGET,
    .methods = methods,
    .n_methods = sizeof methods / sizeof *methods,
    .create = create,
};

BUSBAR_EXPORT const busbar_manifest *busbar_plugin_v1(void) { return &manifest; }
