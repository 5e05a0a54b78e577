use super::*;

fn request() -> Value {
    json!({
        "messageType": "request",
        "context": { "uuid": "7c9e6679-7425-40de-944b-e07fc1f90ae7", "environment": "browser" },
        "origin": "browser/console",
        "endpoint": "server/commands/ping",
        "payload": { "context": {}, "sessionId": "s-1", "level": "info" },
        "correlationId": "corr_1753300000000_ab12cd34",
        "unknown": [1, 2, 3],
    })
}

#[test]
fn a_message_is_read_and_written_and_unknown_fields_are_ignored() {
    let message = Message::read(request().to_string().as_bytes()).unwrap();
    assert_eq!(message.message_type, MessageType::Request);
    assert_eq!(message.correlation_id.as_deref(), Some("corr_1753300000000_ab12cd34"));
    assert_eq!(message.payload["sessionId"], "s-1");
    assert_eq!(Message::read(message.to_text().as_bytes()).as_ref(), Ok(&message));
    let mut without = request();
    without.as_object_mut().unwrap().remove("unknown");
    assert_eq!(serde_json::from_str::<Value>(&message.to_text()).unwrap(), without);
}

#[test]
fn what_could_be_misread_is_refused_by_its_name() {
    for (field, value, told) in [
        ("messageType", json!("notice"), "messageType"),
        ("messageType", json!(7), "messageType"),
        ("context", json!(null), "context.uuid"),
        ("context", json!({ "uuid": "u" }), "context.environment"),
        ("context", json!({ "uuid": "u", "environment": "moon" }), "context.environment"),
        ("context", json!({ "uuid": "", "environment": "server" }), "context.uuid"),
        ("origin", json!(null), "origin"),
        ("origin", json!("browser/\u{1b}[2J"), "origin"),
        ("endpoint", json!("server/\r\nX-Injected: 1"), "endpoint"),
        ("endpoint", json!("x".repeat(256)), "endpoint"),
        ("correlationId", json!(null), "correlationId"),
        ("correlationId", json!("a\u{0}"), "correlationId"),
    ] {
        let mut wrong = request();
        wrong[field] = value.clone();
        let error = Message::read(wrong.to_string().as_bytes()).expect_err(told);
        assert!(error.to_string().contains(told), "{field} {value}: {error}");
        assert!(!error.to_string().contains(char::is_control), "{error:?}");
    }
    for text in ["", "7", "null", "\"x\"", "[]", "{", "{}x"] {
        assert!(Message::read(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn priorities_are_those_of_the_legacy_system() {
    use Priority::{Critical, High, Normal};
    for (origin, endpoint, level, priority) in [
        ("server/system", "browser/events", "info", Critical),
        ("browser/health/check", "server/events", "info", Critical),
        ("server/system", "server/commands/ping", "info", Critical),
        ("browser/chat", "server/commands/ping", "info", High),
        ("browser/console", "server/events", "error", High),
        ("browser/console", "server/events", "warn", Normal),
        ("browser/chat", "server/events", "error", Normal),
        ("browser/chat", "server/system", "info", Normal),
    ] {
        let mut message = Message::of(&request()).unwrap();
        (message.origin, message.endpoint) = (origin.into(), endpoint.into());
        message.payload = json!({ "level": level });
        assert_eq!(message.priority(), priority, "{origin} {endpoint} {level}");
    }
}

#[test]
fn a_response_goes_back_with_the_id_of_its_request() {
    let request = Message::of(&request()).unwrap();
    let server = Context::new(Environment::Server);
    let fields = Map::from_iter([("success".to_owned(), json!(true))]);
    let response = request.response(&server, fields);
    assert_eq!(response.message_type, MessageType::Response);
    assert_eq!(response.correlation_id, request.correlation_id);
    assert_eq!((&response.origin, &response.endpoint), (&request.endpoint, &request.origin));
    assert_eq!(response.payload["success"], true);
    assert_eq!(response.payload["sessionId"], "s-1");
}

#[test]
fn contexts_and_ids_look_as_the_legacy_ones() {
    let context = Context::new(Environment::Remote);
    let parts: Vec<usize> = context.uuid.split('-').map(str::len).collect();
    assert_eq!(parts, [8, 4, 4, 4, 12], "{}", context.uuid);
    assert_eq!(&context.uuid[14..15], "4");
    assert!(matches!(&context.uuid[19..20], "8" | "9" | "a" | "b"), "{}", context.uuid);
    assert_ne!(context.uuid, Context::new(Environment::Remote).uuid);
    let id = correlation_id();
    let parts: Vec<&str> = id.split('_').collect();
    assert_eq!((parts[0], parts[1].len(), parts[2].len()), ("corr", 13, 8), "{id}");
}

#[test]
fn the_real_clients_handshake_is_known() {
    let text = json!({
        "messageType": "event", "endpoint": "session/handshake",
        "payload": { "sessionId": "s-9", "timestamp": "2025-07-24T01:02:03.004Z" },
    });
    assert_eq!(handshake(&text), Some("s-9"));
    assert_eq!(handshake(&request()), None);
}
