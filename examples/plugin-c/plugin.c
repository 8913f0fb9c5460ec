/*
 * A plugin in C. Values are read and written where they lie: types.h has their layouts, written by
 *
 *     npx busbar gen types.json -o types.h
 *
 * Build it with
 *
 *     cc -O2 -shared -fPIC -I "$(npx busbar include)" plugin.c -o libgeometry.so -lm
 */
#define BUSBAR_EXPORT_TYPES
#include "types.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LENGTH, MIX, CHECKSUM };

/* What lives as long as a zone. A plugin without state could do with one static table. */
typedef struct geometry {
  busbar_plugin table;
  const busbar_host *host;
} geometry;

static busbar_status fail(const geometry *it, busbar_status status, const char *why) {
  it->host->error(it->host, status, why, strlen(why));
  return status;
}

/* The host has checked nothing about the bytes of an argument but that they are there. */
static busbar_status take(const geometry *it, busbar_slice in, void *value, size_t size) {
  if (in.len != size) return fail(it, BUSBAR_E_SCHEMA_MISMATCH, "this is no argument of mine");
  memcpy(value, in.ptr, size);
  return BUSBAR_OK;
}

static busbar_status give(busbar_buf *out, const void *value, size_t size) {
  out->len = size;
  if (out->cap < size) return BUSBAR_E_BUFFER_TOO_SMALL;
  memcpy(out->ptr, value, size);
  return BUSBAR_OK;
}

static busbar_status call(const busbar_plugin *plugin, uint32_t method, busbar_slice in,
                          busbar_buf *out) {
  const geometry *it = plugin->plugin_data;
  busbar_status status;
  switch (method) {
  case LENGTH: {
    geometry_Point point;
    if ((status = take(it, in, &point, sizeof point)) != BUSBAR_OK) return status;
    geometry_LengthResult length = {hypot(point.x, point.y)};
    return give(out, &length, sizeof length);
  }
  case MIX: {
    geometry_MixArguments of;
    if ((status = take(it, in, &of, sizeof of)) != BUSBAR_OK) return status;
    if (!(of.share >= 0 && of.share <= 1)) return fail(it, BUSBAR_E_INVALID, "share is 0 to 1");
    geometry_Point mixed = {
        of.a.x + (of.b.x - of.a.x) * of.share,
        of.a.y + (of.b.y - of.a.y) * of.share,
    };
    return give(out, &mixed, sizeof mixed);
  }
  case CHECKSUM: {
    /* Bytes in, bytes out: FNV-1a. */
    uint32_t sum = 0x811c9dc5u;
    for (size_t i = 0; i < in.len; i++) sum = (sum ^ in.ptr[i]) * 0x01000193u;
    return give(out, &sum, sizeof sum);
  }
  default:
    return BUSBAR_E_UNSUPPORTED;
  }
}

static void destroy(const busbar_plugin *plugin) { free(plugin->plugin_data); }

static busbar_status create(const busbar_host *host, const char *id, const busbar_plugin **out) {
  (void)id;
  geometry *it = calloc(1, sizeof *it);
  if (it == NULL) return BUSBAR_E_NOMEM;
  it->host = host;
  it->table.struct_size = sizeof it->table;
  it->table.abi_minor = BUSBAR_ABI_MINOR;
  it->table.plugin_data = it;
  it->table.call = call;
  it->table.destroy = destroy;
  *out = &it->table;
  return BUSBAR_OK;
}

/* They never wait, may run on several threads at once, and have no effects. */
#define PURE (BUSBAR_METHOD_SYNC | BUSBAR_METHOD_THREAD_SAFE | BUSBAR_METHOD_IDEMPOTENT)

static const busbar_method methods[] = {
    {LENGTH, PURE, "length", GEOMETRY_POINT_HASH, GEOMETRY_LENGTH_RESULT_HASH},
    {MIX, PURE, "mix", GEOMETRY_MIX_ARGUMENTS_HASH, GEOMETRY_POINT_HASH},
    {CHECKSUM, PURE, "checksum", 0, 0},
};

static const busbar_manifest manifest = {
    .magic = BUSBAR_MAGIC,
    .struct_size = sizeof manifest,
    .abi_major = BUSBAR_ABI_MAJOR,
    .abi_minor = BUSBAR_ABI_MINOR,
    .pointer_bits = 8 * sizeof(void *),
    .runtime = BUSBAR_RUNTIME_C,
    .id = "c.geometry",
    .version = "1.0.0",
    .target = BUSBAR_TARGET,
    .methods = methods,
    .n_methods = sizeof methods / sizeof *methods,
    .create = create,
};

BUSBAR_EXPORT const busbar_manifest *busbar_plugin_v1(void) { return &manifest; }
