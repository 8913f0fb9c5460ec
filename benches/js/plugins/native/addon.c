/* The same functions behind Node-API, as an addon by hand has them: arguments are not checked. */

#include <node_api.h>

void nothing(void);
double distance(double x, double y);
void invert(const uint8_t *in, uint8_t *out, size_t length);

static napi_value call_nothing(napi_env env, napi_callback_info info) {
  (void)env, (void)info;
  nothing();
  return NULL;
}

static napi_value call_distance(napi_env env, napi_callback_info info) {
  napi_value values[2], result = NULL;
  size_t count = 2;
  double x = 0, y = 0;
  napi_get_cb_info(env, info, &count, values, NULL, NULL);
  napi_get_value_double(env, values[0], &x);
  napi_get_value_double(env, values[1], &y);
  napi_create_double(env, distance(x, y), &result);
  return result;
}

static napi_value call_invert(napi_env env, napi_callback_info info) {
  napi_value values[2];
  size_t count = 2, in_length = 0, out_length = 0;
  void *in = NULL, *out = NULL;
  napi_get_cb_info(env, info, &count, values, NULL, NULL);
  napi_get_typedarray_info(env, values[0], NULL, &in_length, &in, NULL, NULL);
  napi_get_typedarray_info(env, values[1], NULL, &out_length, &out, NULL, NULL);
  invert(in, out, in_length < out_length ? in_length : out_length);
  return NULL;
}

static void define(napi_env env, napi_value exports, const char *name, napi_callback callback) {
  napi_value function;
  napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, NULL, &function);
  napi_set_named_property(env, exports, name, function);
}

NAPI_MODULE_INIT() {
  define(env, exports, "nothing", call_nothing);
  define(env, exports, "distance", call_distance);
  define(env, exports, "invert", call_invert);
  return exports;
}
