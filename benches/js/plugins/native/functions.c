/* What all contenders that call native code call, as a plain library. */

#include <math.h>
#include <stddef.h>
#include <stdint.h>

void nothing(void) {}

double distance(double x, double y) { return hypot(x, y); }

void invert(const uint8_t *in, uint8_t *out, size_t length) {
  for (size_t i = 0; i < length; i++) out[i] = (uint8_t)~in[i];
}
