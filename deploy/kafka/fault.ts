/**
 * Why a local Kafka could not be had. The first four mean that this machine lacks something; the
 * rest mean that it had everything and it did not work, which a test must never skip over.
 */
export type KafkaFaultCode =
  | 'java_missing'
  | 'java_old'
  | 'maven_missing'
  | 'download_failed'
  | 'bad_options'
  | 'dir_mismatch'
  | 'guard_failed'
  | 'format_failed'
  | 'port_taken'
  | 'broker_died'
  | 'start_timeout'
  | 'stopped';

const MACHINE_LACKS: readonly KafkaFaultCode[] = [
  'java_missing',
  'java_old',
  'maven_missing',
  'download_failed',
];

/** The error of everything in this folder. Its message says what to do next. */
export class KafkaFault extends Error {
  readonly code: KafkaFaultCode;
  constructor(code: KafkaFaultCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'KafkaFault';
    this.code = code;
  }
  /** True when the machine lacks a tool or a download, false when something is broken. */
  get machineLacks(): boolean {
    return MACHINE_LACKS.includes(this.code);
  }
}
