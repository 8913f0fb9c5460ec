/* Written by `busbar gen`. Hashes for a manifest, and the layouts of archives. */
#ifndef BUSBAR_GENERATED_TYPES_H
#define BUSBAR_GENERATED_TYPES_H

#include <busbar_plugin.h>

/* geometry.Point */
#define GEOMETRY_POINT_HASH UINT64_C(0x0556ae01be858fa3)
typedef struct geometry_Point {
  double x;
  double y;
} geometry_Point;

/* geometry.LengthResult */
#define GEOMETRY_LENGTH_RESULT_HASH UINT64_C(0xdc1e7a06aa87d521)
typedef struct geometry_LengthResult {
  double value0;
} geometry_LengthResult;

/* geometry.MixArguments */
#define GEOMETRY_MIX_ARGUMENTS_HASH UINT64_C(0xfd0f9641e49467e0)
typedef struct geometry_MixArguments {
  geometry_Point a;
  geometry_Point b;
  double share;
} geometry_MixArguments;

/* One file of a library defines this first: there is the description of the types. */
#ifdef BUSBAR_EXPORT_TYPES
BUSBAR_EXPORT const busbar_slice *busbar_types_v1(void) {
  static const char json[] =
      "[{\"abi\":1,\"format\":\"rkyv0.8/le/aligned/p32\",\"root\":\"geometry.Poi"
      "nt\",\"types\":{\"geometry.Point\":{\"kind\":\"struct\",\"shape\":\"named\",\""
      "size\":16,\"align\":8,\"hash\":\"0556ae01be858fa3\",\"text\":\"abi1;rkyv0."
      "8/le/aligned/p32;struct geometry.Point(16,8){x:f64;y:f64}\",\"fiel"
      "ds\":[{\"name\":\"x\",\"kind\":\"f64\",\"size\":8,\"align\":8,\"offset\":0},{\"n"
      "ame\":\"y\",\"kind\":\"f64\",\"size\":8,\"align\":8,\"offset\":8}]}}},{\"abi\":"
      "1,\"format\":\"rkyv0.8/le/aligned/p32\",\"root\":\"geometry.LengthResul"
      "t\",\"types\":{\"geometry.LengthResult\":{\"kind\":\"struct\",\"shape\":\"tu"
      "ple\",\"size\":8,\"align\":8,\"hash\":\"dc1e7a06aa87d521\",\"text\":\"abi1;r"
      "kyv0.8/le/aligned/p32;struct geometry.LengthResult(8,8)(f64)\",\"f"
      "ields\":[{\"name\":\"0\",\"kind\":\"f64\",\"size\":8,\"align\":8,\"offset\":0}]"
      "}}},{\"abi\":1,\"format\":\"rkyv0.8/le/aligned/p32\",\"root\":\"geometry."
      "MixArguments\",\"types\":{\"geometry.MixArguments\":{\"kind\":\"struct\","
      "\"shape\":\"named\",\"size\":40,\"align\":8,\"hash\":\"fd0f9641e49467e0\",\"t"
      "ext\":\"abi1;rkyv0.8/le/aligned/p32;struct geometry.MixArguments(4"
      "0,8){a:geometry.Point#0556ae01be858fa3;b:geometry.Point#0556ae01"
      "be858fa3;share:f64}\",\"fields\":[{\"name\":\"a\",\"kind\":\"type\",\"size\":"
      "16,\"align\":8,\"type\":\"geometry.Point\",\"offset\":0},{\"name\":\"b\",\"ki"
      "nd\":\"type\",\"size\":16,\"align\":8,\"type\":\"geometry.Point\",\"offset\":"
      "16},{\"name\":\"share\",\"kind\":\"f64\",\"size\":8,\"align\":8,\"offset\":32}"
      "]},\"geometry.Point\":{\"kind\":\"struct\",\"shape\":\"named\",\"size\":16,\""
      "align\":8,\"hash\":\"0556ae01be858fa3\",\"text\":\"abi1;rkyv0.8/le/align"
      "ed/p32;struct geometry.Point(16,8){x:f64;y:f64}\",\"fields\":[{\"nam"
      "e\":\"x\",\"kind\":\"f64\",\"size\":8,\"align\":8,\"offset\":0},{\"name\":\"y\",\""
      "kind\":\"f64\",\"size\":8,\"align\":8,\"offset\":8}]}}}]";
  static const busbar_slice text = {(const uint8_t *)json, sizeof json - 1};
  return &text;
}
#endif

#endif
