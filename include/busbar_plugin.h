/*
 * The contract between Busbar and a plugin library. C99, C11 and C++17.
 *
 * A library exports busbar_plugin_v1 (below), or one of the two legacy entries for libraries that
 * bring types only. crates/busbar-abi states the same in Rust; a test compares the layouts.
 *
 * Rules
 *   - All strings are UTF-8 and end with NUL. Integers have fixed widths. A struct that can grow
 *     says its own size in struct_size; it grows at its end, or by a named extension.
 *   - Inputs are borrowed until the callee returns. Outputs go to the caller's memory.
 *   - Nothing unwinds across: no C++ exception, no Rust panic, no longjmp.
 *   - In brackets: which thread may call.
 *       [any]     any thread, at any time
 *       [calling] the thread that is inside a call of the plugin
 *       [loader]  one thread that loads libraries, never that of JavaScript
 *       [zone]    the thread that the zone has for this; one call at a time
 *       [active]  between activate and deactivate: one call at a time, or on any threads at once
 *                 if the method is BUSBAR_METHOD_THREAD_SAFE
 */
#ifndef BUSBAR_PLUGIN_H
#define BUSBAR_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define BUSBAR_VISIBLE __declspec(dllexport)
#else
#define BUSBAR_VISIBLE __attribute__((visibility("default")))
#endif
#ifdef __cplusplus
#define BUSBAR_EXPORT extern "C" BUSBAR_VISIBLE
extern "C" {
#else
#define BUSBAR_EXPORT BUSBAR_VISIBLE
#endif

#define BUSBAR_MAGIC 0x31534242u /* "BBS1" */
#define BUSBAR_ABI_MAJOR 1
#define BUSBAR_ABI_MINOR 0

/* Whether the struct at p, as its maker compiled it, has the field f of T. */
#define BUSBAR_HAS(p, T, f) ((p)->struct_size >= offsetof(T, f) + sizeof((p)->f))

/* 0: done. 1: will be completed later. Negative: failed. At most -1000: the plugin's own. */
typedef int32_t busbar_status;
#define BUSBAR_OK 0
#define BUSBAR_PENDING 1
#define BUSBAR_E_INVALID (-1)          /* an argument makes no sense */
#define BUSBAR_E_BUFFER_TOO_SMALL (-2) /* len says what it takes; the call may have had its effect */
#define BUSBAR_E_UNSUPPORTED (-3)
#define BUSBAR_E_SCHEMA_MISMATCH (-4) /* the bytes are no value of the type */
#define BUSBAR_E_PANIC (-5)           /* a bug: the instance is never called again */
#define BUSBAR_E_CANCELLED (-6)
#define BUSBAR_E_TIMEOUT (-7)
#define BUSBAR_E_AGAIN (-8) /* the same call may succeed later */
#define BUSBAR_E_CLOSED (-9)
#define BUSBAR_E_NOMEM (-10)
#define BUSBAR_E_CRASHED (-11)
#define BUSBAR_E_INTERNAL (-12)
#define BUSBAR_E_PARENT (-13) /* a method of the parent failed */
#define BUSBAR_E_STALE (-14)  /* an object that is gone, or was never there */
#define BUSBAR_E_PLUGIN (-1000)

typedef uint32_t busbar_formats_t;
#define BUSBAR_FORMAT_RKYV 1u
#define BUSBAR_FORMAT_CAPNP 2u
#define BUSBAR_FORMAT_JSON 4u
#define BUSBAR_FORMAT_MSGPACK 8u
#define BUSBAR_FORMAT_RAW 16u

#define BUSBAR_LOG_ERROR 1u
#define BUSBAR_LOG_WARN 2u
#define BUSBAR_LOG_INFO 3u
#define BUSBAR_LOG_DEBUG 4u
#define BUSBAR_LOG_TRACE 5u

/* Borrowed until the callee returns. */
typedef struct busbar_slice {
  const uint8_t *ptr;
  size_t len;
} busbar_slice;

/* The caller's memory; the callee sets len. */
typedef struct busbar_buf {
  uint8_t *ptr;
  size_t cap;
  size_t len;
} busbar_buf;

/*
 * One type. The first 56 bytes (on 64-bit machines) are the legacy descriptor, byte for byte:
 * struct_size lies in what was padding there.
 */
typedef struct PluginTypeDescriptor {
  const char *type_name;
  uint64_t schema_hash; /* XXH64 of the canonical text */
  busbar_formats_t formats;
  uint32_t struct_size; /* legacy: not read. v1: sizeof as the plugin was built */
  /* [any] The bytes written; 0 if it failed or there is too little room. */
  size_t (*serialize_into)(void *ctx, const void *typed_ptr, uint8_t *out_buf, size_t out_len);
  /* [any] The canonical text, which stays the plugin's; may be NULL, and may give NULL. */
  const char *(*get_schema_text)(void *ctx);
  /* [loader] Once, after the last use; may be NULL. */
  void (*ctx_drop)(void *ctx);
  void *ctx;
  /* what v1 adds; every function may be NULL */
  uint64_t schema_hash_hi; /* upper half of a hash of 128 bits, or 0 */
  uint32_t type_flags;
  uint32_t type_version;
  busbar_status (*encode)(void *ctx, uint32_t format, const void *typed, busbar_buf *out);
  busbar_status (*decode)(void *ctx, uint32_t format, busbar_slice in, void **typed);
  void (*drop_value)(void *ctx, void *typed);
  busbar_status (*transcode)(void *ctx, uint32_t from, busbar_slice in, uint32_t to,
                             busbar_buf *out);
  busbar_status (*validate)(void *ctx, uint32_t format, busbar_slice in);
} PluginTypeDescriptor;

#define BUSBAR_METHOD_SYNC 1u        /* bounded, never blocks: may run on the thread of JavaScript */
#define BUSBAR_METHOD_THREAD_SAFE 2u /* may run on several threads at once */
#define BUSBAR_METHOD_ONEWAY 4u      /* has no result; callers do not wait */
#define BUSBAR_METHOD_IDEMPOTENT 8u  /* twice is as good as once: may be repeated after a crash */

typedef struct busbar_method {
  uint32_t id; /* what call and start are given */
  uint32_t flags;
  const char *name;
  uint64_t in_hash;  /* schema hash of the argument, 0 for raw bytes or none */
  uint64_t out_hash; /* schema hash of the result, likewise */
} busbar_method;

/* What the host does for one instance. Every function is there. Not before init. */
typedef struct busbar_host busbar_host;
struct busbar_host {
  uint32_t struct_size;
  uint32_t abi_minor;
  void *host_data;
  /* [any] NULL if there is none of that name. */
  const void *(*get_extension)(const busbar_host *host, const char *id);
  void *(*alloc)(const busbar_host *host, size_t size, size_t align);               /* [any] */
  void (*dealloc)(const busbar_host *host, void *ptr, size_t size, size_t align);   /* [any] */
  void (*log)(const busbar_host *host, uint32_t level, const char *msg, size_t len); /* [any] */
  /* [calling] The text for the status about to be returned; copied, 4096 bytes at most. */
  void (*error)(const busbar_host *host, busbar_status status, const char *msg, size_t len);
  /* [any] Once per token; copied before it returns. E_INVALID if nobody waits for this token. */
  busbar_status (*complete)(const busbar_host *host, uint64_t token, busbar_status status,
                            busbar_slice result);
  /* [any] The body of an HTTP request, by its id. */
  busbar_status (*request_get)(const busbar_host *host, int64_t request_id, busbar_slice *out);
  busbar_status (*response_put)(const busbar_host *host, int64_t request_id, busbar_slice body);
  /* [any] 1 on a thread that the zone has, 0 elsewhere: inline calls run on threads of others. */
  uint32_t (*on_zone_thread)(const busbar_host *host);
};

/* One instance. start and cancel may be NULL (both, or none), get_extension too. */
typedef struct busbar_plugin busbar_plugin;
struct busbar_plugin {
  uint32_t struct_size;
  uint32_t abi_minor;
  void *plugin_data;
  busbar_status (*init)(const busbar_plugin *plugin); /* [zone] the host is usable from here on */
  /* [zone] Threads may start here, not earlier. */
  busbar_status (*activate)(const busbar_plugin *plugin, busbar_slice config_json);
  void (*deactivate)(const busbar_plugin *plugin); /* [zone] no call in flight: join every thread */
  void (*destroy)(const busbar_plugin *plugin);    /* [zone] the last call there is */
  const void *(*get_extension)(const busbar_plugin *plugin, const char *id); /* [any] */
  /* [active] */
  busbar_status (*call)(const busbar_plugin *plugin, uint32_t method, busbar_slice in,
                        busbar_buf *out);
  /*
   * [active] PENDING: complete() is, or was already, called once with this token. OK: done, with an
   * empty result and without complete(). Negative: failed, likewise. `in` dies on return.
   */
  busbar_status (*start)(const busbar_plugin *plugin, uint32_t method, busbar_slice in,
                         uint64_t token);
  /* [any] A request, not a promise: the token is still completed. Unknown ones are ignored. */
  void (*cancel)(const busbar_plugin *plugin, uint64_t token);
};

/*
 * All its threads end in deactivate, and nothing else of it stays: no handlers, no atexit, no
 * thread-locals on threads of the host. When all its instances were of dedicated zones and those are
 * closed, it is unmapped, if it has no types.
 */
#define BUSBAR_PLUGIN_UNLOADABLE 1u
#define BUSBAR_PLUGIN_SINGLETON 2u   /* one instance in a process */
#define BUSBAR_PLUGIN_OWN_RUNTIME 4u /* has threads of its own */
#define BUSBAR_PLUGIN_STATE 8u       /* has the extension BUSBAR_EXT_STATE */

#define BUSBAR_RUNTIME_C 0u
#define BUSBAR_RUNTIME_RUST 1u
#define BUSBAR_RUNTIME_GO 2u
#define BUSBAR_RUNTIME_ZIG 3u

/* Static data. */
typedef struct busbar_manifest {
  uint32_t magic;
  uint32_t struct_size;
  uint16_t abi_major;
  uint16_t abi_minor;
  uint16_t min_host_minor;
  uint16_t pointer_bits;
  uint32_t flags;
  uint32_t runtime;
  const char *id;      /* such as "game.physics" */
  const char *version; /* such as "1.4.0" */
  const char *target;  /* BUSBAR_TARGET */
  const busbar_method *methods;
  size_t n_methods;
  const PluginTypeDescriptor *const *types;
  size_t n_types;
  /* [zone] An instance; it does not use the host yet. */
  busbar_status (*create)(const busbar_host *host, const char *plugin_id,
                          const busbar_plugin **out);
} busbar_manifest;

/* What this compiler compiles for, as busbar_manifest.target: architecture and system. */
#if defined(__x86_64__) || defined(_M_X64)
#define BUSBAR_ARCH "x86_64"
#elif defined(__aarch64__) || defined(_M_ARM64)
#define BUSBAR_ARCH "aarch64"
#else
#define BUSBAR_ARCH "unknown"
#endif
#if defined(_WIN32)
#define BUSBAR_OS "windows"
#elif defined(__APPLE__)
#define BUSBAR_OS "macos"
#elif defined(__linux__)
#define BUSBAR_OS "linux"
#else
#define BUSBAR_OS "unknown"
#endif
#define BUSBAR_TARGET BUSBAR_ARCH "-" BUSBAR_OS

/* Extensions, by name. */
#define BUSBAR_EXT_STATE "busbar.state/1"
#define BUSBAR_EXT_BATCH "busbar.batch/1"
#define BUSBAR_EXT_REQUEST "busbar.request-id/1"
#define BUSBAR_EXT_PARENT "busbar.parent/1"   /* of hosts */
#define BUSBAR_EXT_OBJECTS "busbar.objects/1" /* of plugins */

/* State that outlives a reload. [zone, no call in flight] */
typedef struct busbar_ext_state {
  uint32_t struct_size;
  uint32_t reserved;
  busbar_status (*save)(const busbar_plugin *plugin, busbar_buf *out, uint64_t *schema_hash);
  busbar_status (*load)(const busbar_plugin *plugin, busbar_slice in, uint64_t schema_hash);
} busbar_ext_state;

/* A call of a batch. All but the two that the plugin sets is the host's. */
typedef struct busbar_record {
  uint32_t method;
  uint32_t in_offset; /* where in the arena its input is */
  uint32_t in_length;
  uint32_t out_offset; /* where its result goes: never into an input of its own */
  uint32_t out_room;
  uint32_t out_length; /* set: as busbar_buf.len */
  int32_t status;      /* PENDING; set: as call returns */
  uint32_t reserved;   /* 0 */
} busbar_record;

/*
 * Many calls of methods with SYNC at once. [active] They run in order, up to the first that fails:
 * its status is returned then, with its text given to error(), and those behind it stay PENDING;
 * the host goes on with them. OK: all were run. Plugins without it are called one by one.
 */
typedef struct busbar_ext_batch {
  uint32_t struct_size;
  uint32_t reserved;
  busbar_status (*call_batch)(const busbar_plugin *plugin, uint8_t *arena, size_t arena_len,
                              busbar_record *records, uint32_t n);
} busbar_ext_batch;

/* HTTP requests by id alone. [active] */
typedef struct busbar_ext_request {
  uint32_t struct_size;
  uint32_t reserved;
  busbar_status (*handle_request)(const busbar_plugin *plugin, int64_t request_id);
} busbar_ext_request;

/* How a call of the parent ended: with its result, or with the text of a failure. */
typedef void (*busbar_answer)(void *context, busbar_status status, busbar_slice bytes);

/*
 * What a host has under BUSBAR_EXT_PARENT: methods of whoever loaded the zone, and numbers for
 * objects. [any] From when activate has returned until deactivate is called: E_AGAIN before,
 * E_CLOSED after.
 */
typedef struct busbar_ext_parent {
  uint32_t struct_size;
  uint32_t reserved;
  /*
   * Runs a method and waits for its end, timeout_ms at most; its status. `answer` is called once,
   * on this thread, before this returns, however it ends.
   */
  busbar_status (*call)(const busbar_host *host, busbar_slice method, busbar_slice in,
                        uint32_t timeout_ms, busbar_answer answer, void *context);
  /*
   * OK: `answer` is, or was already, called once, on any thread; at the latest when the zone ends.
   * Negative: it never is. `id` is set before `answer` is called.
   */
  busbar_status (*start)(const busbar_host *host, busbar_slice method, busbar_slice in,
                         busbar_answer answer, void *context, uint64_t *id);
  /* Ends a call with E_CANCELLED, if it has not ended: then the answer was given on return. */
  void (*cancel)(const busbar_host *host, uint64_t id);
  /* A number for an object of the plugin's which callers may hold; 0 if the zone ends. */
  uint64_t (*object)(const busbar_host *host);
  /* The plugin does not need an object of the parent's any more. E_STALE if it had it not. */
  busbar_status (*release)(const busbar_host *host, uint64_t object);
} busbar_ext_parent;

/* Of plugins with objects that callers hold. */
typedef struct busbar_ext_objects {
  uint32_t struct_size;
  uint32_t reserved;
  /* [any, active] Nobody holds the object any more, nor will again. Once for each. */
  void (*released)(const busbar_plugin *plugin, uint64_t object);
} busbar_ext_objects;

#ifdef __cplusplus
} /* extern "C" */
#endif

/*
 * The entry; the major version is in its name. [loader] It must not allocate, start threads or
 * touch thread-locals.
 */
BUSBAR_EXPORT const busbar_manifest *busbar_plugin_v1(void);

/*
 * The legacy entries, for libraries with types only. The first gives an array; the second puts
 * pointers into the n slots (all NULL), from the front. A host prefers them in this order.
 */
BUSBAR_EXPORT const PluginTypeDescriptor *com_my_plugin_get_descriptors(size_t *n);
BUSBAR_EXPORT void com_my_plugin_register(const PluginTypeDescriptor **slots, size_t n);

#endif /* BUSBAR_PLUGIN_H */
