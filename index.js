/**
 * Busbar: what the package offers, at a glance. Each name is documented where it is defined, lib/.
 */

// Between processes, threads and within one: pipes
export { dial, listen } from './dist/index.js';
export { bindInproc, connectInproc, inprocStats, listInprocEndpoints } from './dist/index.js';
export { Listener, Pipe, TypedPipe } from './dist/index.js';
export { backend, configure, parseAddress } from './dist/index.js';

// Typed messages
export { compile, registry, BufferTooSmallError, SchemaError } from './dist/index.js';
export { openMapped, writeMapped, MappedFile } from './dist/index.js';

// Native plugins
export { BatchError, loadZone, Zone, ZoneObject } from './dist/index.js';

// When something goes wrong
export { AbortError, BusbarError, CODES, PluginError } from './dist/index.js';

// Watching it work
export { metrics, prometheus, setLogger, version } from './dist/index.js';
