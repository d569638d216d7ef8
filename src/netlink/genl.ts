import { type AttributeCodec, type AttributesOf, attributeCodec, type Schema } from './attributes.ts';
import { type ByteWriter, NetlinkDecodeError } from './bytes.ts';
import { encodeMessage, type MessageHeader, type NetlinkMessage } from './message.ts';
import { CTRL_CMD_GETFAMILY, CTRL_VERSION, controlSchema, GENL_HDRLEN } from './uapi/genetlink.ts';

/** A generic netlink request as data: the header is added when it is sent. */
export interface GenlRequest<S extends Schema = Schema> {
  /** The family's command number. */
  readonly command: number;
  /** The family's version. */
  readonly version: number;
  readonly codec: AttributeCodec<S>;
  readonly attributes: AttributesOf<S>;
}

/** What precedes the attributes of a generic netlink message. @see struct genlmsghdr */
export interface GenlHeader {
  readonly command: number;
  readonly version: number;
}

/** Appends a whole message. @returns its offset, as `encodeMessage` */
export function encodeGenlRequest(writer: ByteWriter, header: MessageHeader, request: GenlRequest): number {
  return encodeMessage(writer, header, () => {
    writer.u8(request.command);
    writer.u8(request.version);
    writer.u16(0);
    request.codec.encode(writer, request.attributes);
  });
}

/** @throws NetlinkDecodeError if the message is too short for it */
export function decodeGenlHeader(message: NetlinkMessage): GenlHeader {
  if (message.payloadEnd - message.payloadStart < GENL_HDRLEN) {
    throw new NetlinkDecodeError('generic netlink header is cut short', message.payloadStart);
  }
  const { view } = message.source;
  return { command: view.getUint8(message.payloadStart), version: view.getUint8(message.payloadStart + 1) };
}

/** The attributes of a generic netlink message. @throws NetlinkDecodeError */
export function decodeGenlAttributes<S extends Schema>(
  message: NetlinkMessage,
  codec: AttributeCodec<S>,
): AttributesOf<S> {
  if (message.payloadEnd - message.payloadStart < GENL_HDRLEN) {
    throw new NetlinkDecodeError('generic netlink header is cut short', message.payloadStart);
  }
  return codec.decode(message.source, message.payloadStart + GENL_HDRLEN, message.payloadEnd);
}

/** CTRL_ATTR_*, both ways. */
export const controlCodec = attributeCodec(controlSchema);

/** Asks "nlctrl" for a family. The look-up makes the kernel load a module that provides the family. */
export function getFamily(familyName: string): GenlRequest<typeof controlSchema> {
  return {
    command: CTRL_CMD_GETFAMILY,
    version: CTRL_VERSION,
    codec: controlCodec,
    attributes: { familyName },
  };
}

/** The id in the reply to `getFamily`. @throws NetlinkDecodeError if there is none */
export function decodeFamilyId(message: NetlinkMessage): number {
  const { familyId } = decodeGenlAttributes(message, controlCodec);
  if (familyId === undefined) throw new NetlinkDecodeError('the family has no id', message.payloadStart);
  return familyId;
}
