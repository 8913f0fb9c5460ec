/* A process that calls a function for each byte that it reads, and answers with a byte. */

#include <unistd.h>

void nothing(void);

int main(void) {
  char byte;
  while (read(0, &byte, 1) == 1) {
    nothing();
    if (write(1, &byte, 1) != 1) return 1;
  }
  return 0;
}
