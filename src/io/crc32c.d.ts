// The package's own types leave out its Castagnoli variant.
declare module 'crc-32/crc32c.js' {
  const crc32c: { buf(data: Uint8Array): number }
  export default crc32c
}
