// A plugin in C++17: the same as ../plugin-c, with methods as functions of values. Build it with
//
//     c++ -std=c++17 -O2 -shared -fPIC -I node_modules/busbar/include plugin.cpp -o libgeometry.so

#define BUSBAR_EXPORT_TYPES
#include "../plugin-c/types.h"

#include <cmath>
#include <cstring>
#include <exception>
#include <new>
#include <stdexcept>
#include <string_view>

namespace {

class Geometry {
 public:
  explicit Geometry(const busbar_host *host) : host_(host) {}

  geometry_LengthResult length(const geometry_Point &point) const {
    return {std::hypot(point.x, point.y)};
  }

  geometry_Point mix(const geometry_MixArguments &of) const {
    if (!(of.share >= 0 && of.share <= 1)) throw std::invalid_argument("share is 0 to 1");
    return {of.a.x + (of.b.x - of.a.x) * of.share, of.a.y + (of.b.y - of.a.y) * of.share};
  }

  uint32_t checksum(busbar_slice in) const {
    uint32_t sum = 0x811c9dc5u;
    for (size_t i = 0; i < in.len; i++) sum = (sum ^ in.ptr[i]) * 0x01000193u;
    return sum;
  }

  busbar_status fail(busbar_status status, std::string_view why) const {
    host_->error(host_, status, why.data(), why.size());
    return status;
  }

 private:
  const busbar_host *host_;
};

struct SchemaMismatch : std::runtime_error {
  using std::runtime_error::runtime_error;
};

template <class T>
T take(busbar_slice in) {
  T value;
  if (in.len != sizeof value) throw SchemaMismatch("this is no argument of mine");
  std::memcpy(&value, in.ptr, sizeof value);
  return value;
}

template <class T>
busbar_status give(busbar_buf *out, const T &value) {
  out->len = sizeof value;
  if (out->cap < sizeof value) return BUSBAR_E_BUFFER_TOO_SMALL;
  std::memcpy(out->ptr, &value, sizeof value);
  return BUSBAR_OK;
}

enum : uint32_t { LENGTH, MIX, CHECKSUM };

// No exception leaves the library.
busbar_status call(const busbar_plugin *plugin, uint32_t method, busbar_slice in, busbar_buf *out) {
  const auto *it = static_cast<const Geometry *>(plugin->plugin_data);
  try {
    switch (method) {
      case LENGTH: return give(out, it->length(take<geometry_Point>(in)));
      case MIX: return give(out, it->mix(take<geometry_MixArguments>(in)));
      case CHECKSUM: return give(out, it->checksum(in));
      default: return BUSBAR_E_UNSUPPORTED;
    }
  } catch (const SchemaMismatch &error) {
    return it->fail(BUSBAR_E_SCHEMA_MISMATCH, error.what());
  } catch (const std::exception &error) {
    return it->fail(BUSBAR_E_INVALID, error.what());
  } catch (...) {
    return it->fail(BUSBAR_E_PANIC, "something was thrown that is no exception");
  }
}

struct Instance {
  busbar_plugin table;
  Geometry geometry;
};

void destroy(const busbar_plugin *plugin) {
  // The table is the instance's first member.
  delete reinterpret_cast<const Instance *>(plugin);
}

busbar_status create(const busbar_host *host, const char *, const busbar_plugin **out) {
  auto *it = new (std::nothrow) Instance{{}, Geometry(host)};
  if (it == nullptr) return BUSBAR_E_NOMEM;
  it->table.struct_size = sizeof it->table;
  it->table.abi_minor = BUSBAR_ABI_MINOR;
  it->table.plugin_data = &it->geometry;
  it->table.call = call;
  it->table.destroy = destroy;
  *out = &it->table;
  return BUSBAR_OK;
}

constexpr uint32_t PURE =
    BUSBAR_METHOD_SYNC | BUSBAR_METHOD_THREAD_SAFE | BUSBAR_METHOD_IDEMPOTENT;

const busbar_method methods[] = {
    {LENGTH, PURE, "length", GEOMETRY_POINT_HASH, GEOMETRY_LENGTH_RESULT_HASH},
    {MIX, PURE, "mix", GEOMETRY_MIX_ARGUMENTS_HASH, GEOMETRY_POINT_HASH},
    {CHECKSUM, PURE, "checksum", 0, 0},
};

const busbar_manifest manifest = {
    BUSBAR_MAGIC,
    sizeof(busbar_manifest),
    BUSBAR_ABI_MAJOR,
    BUSBAR_ABI_MINOR,
    0,                   // any host of this major version
    8 * sizeof(void *),  // bits of a pointer
    0,
    BUSBAR_RUNTIME_C,
    "cpp.geometry",
    "1.0.0",
    BUSBAR_TARGET,
    methods,
    sizeof methods / sizeof *methods,
    nullptr,
    0,
    create,
};

}  // namespace

BUSBAR_EXPORT const busbar_manifest *busbar_plugin_v1(void) { return &manifest; }
