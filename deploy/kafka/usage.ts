/** The flags of `security.ts` as help shows them; apart, because help must not load a client. */
export const KAFKA_USAGE =
  '[--kafka-tls] [--kafka-ca FILE] [--kafka-cert FILE --kafka-key FILE] [--kafka-user NAME ' +
  '--kafka-password-file FILE [--kafka-mechanism plain|scram-sha-256|scram-sha-512]]';
