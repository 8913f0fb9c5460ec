// @ts-check
/**
 * FlatBuffers with the code of flatc: structs for what has a fixed size, a builder and readers that
 * are used again. 64-bit integers are bigints, it has no other form. `place` says where messages
 * are read: over a batch one ByteBuffer moves along, a message of its own takes a new one. Decoding
 * copies into literals, which is faster than the classes of flatc's object API.
 */
import { Builder, ByteBuffer } from 'flatbuffers';

import { fresh } from '../codec.js';
import * as tables from '../generated/flatbuffers.js';
import { BIGINTS } from '../payloads.js';

const { Blob, Entity, Header, Order, Position, PositionMessage, Snapshot } = tables;

/**
 * Each payload's writer, decoder and reader of what `pick` reads.
 *
 * @type {Record<string, Format>}
 */
const FORMATS = {
  position: {
    root: (buffer, table) => PositionMessage.getRootAsPositionMessage(buffer, table),
    write: (builder, value) => {
      PositionMessage.startPositionMessage(builder);
      PositionMessage.addPosition(builder, writePosition(builder, value));
      return PositionMessage.endPositionMessage(builder);
    },
    decode: (message) => copyPosition(message.position(POSITION)),
    read: (message, { id }) => {
      const position = message.position(POSITION);
      return (position.id() === id ? 1 : 0) + position.pos(0);
    },
  },
  order: {
    root: (buffer, table) => Order.getRootAsOrder(buffer, table),
    write: (builder, value) => {
      const symbol = builder.createString(value.symbol);
      const tags = value.tags.map((/** @type {string} */ tag) => builder.createString(tag));
      const list = Order.createTagsVector(builder, tags);
      const note = value.note === null ? 0 : builder.createString(value.note);
      Order.startOrder(builder);
      Order.addId(builder, value.id);
      Order.addSymbol(builder, symbol);
      Order.addSide(builder, value.side);
      Order.addPrice(builder, value.price);
      Order.addQty(builder, value.qty);
      Order.addTags(builder, list);
      Order.addNote(builder, note);
      return Order.endOrder(builder);
    },
    decode: (order) => {
      const length = order.tagsLength();
      const tags = new Array(length);
      for (let index = 0; index < length; index++) tags[index] = order.tags(index);
      return {
        id: order.id(),
        symbol: order.symbol(),
        side: order.side(),
        price: order.price(),
        qty: order.qty(),
        tags,
        note: order.note(),
      };
    },
    read: (order, { symbol }) => (order.symbol() === symbol ? 1 : 0) + order.price(),
  },
  snapshot: {
    root: (buffer, table) => Snapshot.getRootAsSnapshot(buffer, table),
    write: (builder, { entities }) => {
      const offsets = entities.map((/** @type {any} */ { position, name }) => {
        const text = builder.createString(name);
        Entity.startEntity(builder);
        Entity.addPosition(builder, writePosition(builder, position));
        Entity.addName(builder, text);
        return Entity.endEntity(builder);
      });
      const list = Snapshot.createEntitiesVector(builder, offsets);
      return Snapshot.createSnapshot(builder, list);
    },
    decode: (snapshot) => {
      const length = snapshot.entitiesLength();
      const entities = new Array(length);
      for (let index = 0; index < length; index++) {
        const entity = snapshot.entities(index, ENTITY);
        entities[index] = {
          position: copyPosition(entity.position(POSITION)),
          name: entity.name(),
        };
      }
      return { entities };
    },
    read: (snapshot) => {
      const length = snapshot.entitiesLength();
      let sum = 0;
      for (let index = 0; index < length; index++) {
        const position = snapshot.entities(index, ENTITY).position(POSITION);
        sum += position.pos(0) + position.flags();
      }
      return sum;
    },
  },
  blob: {
    root: (buffer, table) => Blob.getRootAsBlob(buffer, table),
    write: (builder, { header, bytes }) => {
      const list = builder.createByteVector(bytes);
      Blob.startBlob(builder);
      Blob.addHeader(builder, Header.createHeader(builder, header.id, header.kind));
      Blob.addBytes(builder, list);
      return Blob.endBlob(builder);
    },
    decode: (blob) => {
      const header = blob.header(HEADER);
      // A copy: what bytesArray gives is a view of the message.
      return {
        header: { id: header.id(), kind: header.kind() },
        bytes: Uint8Array.from(blob.bytesArray()),
      };
    },
    read: (blob, { header: { id } }) => (blob.header(HEADER).id() === id ? 1 : 0) + blob.bytes(7),
  },
};

/**
 * @typedef {object} Format
 * @property {(buffer: ByteBuffer, table?: any) => any} root
 * @property {(builder: Builder, value: any) => number} write
 * @property {(table: any) => any} decode
 * @property {(table: any, wanted: any) => number} read
 */

const POSITION = new Position();
const ENTITY = new Entity();
const HEADER = new Header();

/** @type {import('../codec.js').Setup} */
export function setup(payload, { place = 'batch' }) {
  const { root, write, decode, read } = /** @type {Format} */ (FORMATS[payload]);
  const builder = new Builder(1 << 10);
  const build = (/** @type {any} */ value) => {
    builder.clear();
    builder.finish(write(builder, value));
  };
  const table = root(new ByteBuffer(new Uint8Array(8)));
  return {
    forms: BIGINTS,
    place,
    encode: (value) => {
      build(value);
      return builder.asUint8Array().slice();
    },
    encodeInto: (value) => {
      build(value);
      return builder.offset();
    },
    written: () => builder.asUint8Array(),
    decode: (message) => decode(root(new ByteBuffer(message), table)),
    read: (wanted) => fresh(PLACES[place])(ByteBuffer, root, read, table, wanted),
  };
}

/** How the root of a message is reached, by where the message lies. */
const PLACES = {
  own: (
    /** @type {typeof ByteBuffer} */ Buffer,
    /** @type {Format['root']} */ root,
    /** @type {Format['read']} */ read,
    /** @type {any} */ table,
    /** @type {any} */ wanted,
  ) => {
    return (/** @type {Uint8Array} */ bytes) => read(root(new Buffer(bytes), table), wanted);
  },
  batch: (
    /** @type {typeof ByteBuffer} */ Buffer,
    /** @type {Format['root']} */ root,
    /** @type {Format['read']} */ read,
    /** @type {any} */ table,
    /** @type {any} */ wanted,
  ) => {
    let buffer = new Buffer(new Uint8Array(0));
    return (/** @type {Uint8Array} */ bytes, /** @type {number} */ offset) => {
      if (buffer.bytes() !== bytes) buffer = new Buffer(bytes);
      buffer.setPosition(offset);
      return read(root(buffer, table), wanted);
    };
  },
};

function writePosition(/** @type {Builder} */ builder, /** @type {any} */ value) {
  return Position.createPosition(builder, value.id, value.pos, value.vel, value.flags, value.ts);
}

function copyPosition(/** @type {any} */ position) {
  return {
    id: position.id(),
    pos: [position.pos(0), position.pos(1), position.pos(2)],
    vel: [position.vel(0), position.vel(1), position.vel(2)],
    flags: position.flags(),
    ts: position.ts(),
  };
}
